"""The attached workers."""

from crossdock.core.fleet import Fleet
from crossdock.core.requests import Capabilities, WorkerInfo

ANY = (("kind", "work"),)


def worker(name, *, slots=1, **values):
    return WorkerInfo(id=name, slots=slots, capabilities=Capabilities(values={"kind": ("work",), **values}))


def test_the_longest_waiting_worker_that_can_is_woken_and_counts_as_busy():
    fleet = Fleet()
    for name in "abc":
        fleet.attach(worker(name, **({"gpu": ("yes",)} if name == "c" else {})), 0)
        fleet.wait(name)
    gpu = (("gpu", "yes"), ("kind", "work"))
    assert fleet.wake(gpu) == "c"
    assert fleet.wake(gpu) is None
    assert [fleet.wake(ANY), fleet.wake(ANY), fleet.wake(ANY)] == ["a", "b", None]


def test_a_worker_that_left_is_not_woken_and_matches_nothing():
    fleet = Fleet()
    fleet.attach(worker("a"), 0)
    fleet.wait("a")
    assert fleet.learn(ANY)
    assert fleet.detach("a").info.id == "a"
    assert fleet.wake(ANY) is None
    assert not fleet.learn(ANY)
    assert fleet.detach("a") is None


def test_what_is_known_of_a_worker_is_replaced_when_it_attaches_again():
    fleet = Fleet()
    first = fleet.attach(worker("a"), 0)
    first.tokens.add(7)
    fleet.learn(ANY)
    fleet.learn((("kind", "other"),))
    second = fleet.attach(WorkerInfo(id="a", capabilities=Capabilities(values={"kind": ("other",)})), 5)
    assert second is first
    assert (second.tokens, second.classes, second.seen) == ({7}, [(("kind", "other"),)], 5)
    assert not fleet.learn(ANY)


def test_classes_without_jobs_are_forgotten_once_there_are_many():
    fleet = Fleet()
    attached = fleet.attach(worker("a"), 0)
    for number in range(2000):
        fleet.learn((("kind", "work"), ("n", str(number))))
    fleet.learn(ANY)
    fleet.forget_classes({ANY})
    assert attached.classes == [ANY]
    assert fleet.learn(ANY) == {"a": attached}
