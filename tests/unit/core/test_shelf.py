"""Snapshots in memory, within a budget."""

from crossdock.core.jobs import Job
from crossdock.core.shelf import Shelf

ANY = (("kind", "work"),)


def snapshot(number, payload=b"x" * 1000):
    return Job(id=number, kind="work", payload=payload, created=0.0)


def test_retired_snapshots_go_when_room_is_needed_the_oldest_first():
    shelf = Shelf(budget=10_000)
    for number in range(10):
        shelf.put(snapshot(number))
        shelf.retire(number)
    here = [number for number in range(10) if shelf.get(number) is not None]
    assert here == [6, 7, 8, 9]


def test_the_newest_of_several_snapshots_is_found():
    shelf = Shelf(budget=10_000)
    for number in range(20):
        shelf.put(snapshot(0, b"%d" % number))
        assert shelf.get(0).payload == b"%d" % number
        shelf.retire(0)
        assert shelf.get(0).payload == b"%d" % number


def test_snapshots_in_use_stay_whatever_their_size():
    shelf = Shelf(budget=10)
    for number in range(100):
        shelf.put(snapshot(number))
    assert all(shelf.get(number) for number in range(100))
    for number in range(2):
        shelf.retire(number)
    assert [shelf.get(number) is None for number in range(3)] == [True, False, False]


def test_what_is_used_again_and_again_leaves_room_for_others():
    shelf = Shelf(budget=5000)
    for _ in range(100):
        shelf.put(snapshot(1))
        shelf.retire(1)
        shelf.put(snapshot(1))
        shelf.drop(1)
    shelf.put(snapshot(2))
    shelf.retire(2)
    assert shelf.get(2) is not None
    shelf.retire(3)
    shelf.drop(3)
