"""Members of arrays: taken, ended, written and read back; their parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.arrays import ArrayRun
from crossdock.core.bitmaps import positions
from crossdock.core.changes import SEGMENT, MemberResult
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec
from crossdock.core.lifecycle import State
from crossdock.core.tables import decode_rows, member_payload, parameters

ANY = (("kind", "work"),)


def results(*indexes, state=State.SUCCEEDED):
    return [MemberResult(index, state, 1) for index in indexes]


@pytest.mark.parametrize(
    ("count", "seconds", "slots", "size"),
    [
        (10_000, None, 4, 1),
        (10_000, 10.0, 4, 1),
        (10_000, 0.1, 4, 10),
        (10_000, 0.0, 1, SEGMENT),
        (10_000, 0.0, 8, 625),
        (10_000, 0.0, 0, SEGMENT),
        (3, 0.0, 4, 1),
    ],
)
def test_chunks_are_as_long_as_a_second_and_small_enough_for_everybody(count, seconds, slots, size):
    run = ArrayRun(1, ArraySpec(count=count))
    if seconds is not None:
        run.learn(seconds, 1)
    assert run.chunk_size(slots) == size


def test_members_are_taken_once_and_again_only_when_they_come_back():
    run = ArrayRun(1, ArraySpec(count=10))
    assert run.take(4) == (0, 1, 2, 3)
    run.give_back([3, 1])
    assert run.take(10) == (3, 1)
    assert run.take(100) == (4, 5, 6, 7, 8, 9)
    assert (run.take(1), run.available(), run.leased) == ((), False, 10)


def test_delayed_members_count_their_attempts():
    run = ArrayRun(1, ArraySpec(count=2))
    run.take(2)
    assert (run.delay(1), run.leased, run.available()) == (1, 1, False)
    run.resume(1)
    assert run.take(2) == (1,)
    assert (run.delay(1), run.attempts(1), run.attempts(0), run.attempts(999_999)) == (2, 2, 0, 0)


def test_an_array_is_done_when_every_member_has_ended():
    run = ArrayRun(1, ArraySpec(count=3))
    run.take(3)
    run.end(results(0, 1))
    assert not run.done
    run.end(results(2, state=State.FAILED))
    assert run.done
    assert (run.tally.total, run.tally.succeeded, run.tally.failed, run.leased) == (3, 2, 1, 0)


@given(st.data())
def test_what_is_written_of_an_array_brings_it_back(data):
    count = data.draw(st.integers(1, 3 * SEGMENT))
    run = ArrayRun(1, ArraySpec(count=count))
    run.take(0)
    members = st.integers(0, count - 1)
    ends = data.draw(st.dictionaries(members, st.sampled_from([State.SUCCEEDED, State.FAILED, State.CANCELLED])))
    tried = data.draw(st.sets(members.filter(lambda index: index not in ends)))
    for index in tried:
        run.delay(index)
    for index, state in ends.items():
        run.end(results(index, state=state))
    numbers = range(-(-count // SEGMENT))
    again = ArrayRun(1, ArraySpec(count=count), [run.image(number) for number in numbers])
    assert again.tally == run.tally
    assert {index for index in range(count) if again.attempts(index)} == tried
    todo = []
    while taken := again.take(100):
        todo += taken
    assert todo == [index for index in range(count) if index not in ends]


def test_positions_of_a_bitmap():
    assert positions(b"\x81\x00\x01", 2) == [2048, 2055, 2064]


def test_a_chunk_never_spans_two_segments_as_it_is_one_row_there():
    run = ArrayRun(1, ArraySpec(count=2 * SEGMENT))
    run.take(1000)
    assert len(run.take(SEGMENT)) == 24
    assert len(run.take(SEGMENT)) == SEGMENT


def test_parameters_come_from_the_range_or_from_the_table():
    assert parameters(ArraySpec(count=3, name="x", start=5, step=-2), None, 2) == {"x": 1}
    assert parameters(ArraySpec(count=1), [{"a": 1}], 0) == {"a": 1}


def test_a_members_own_parameters_win():
    assert member_payload(b'{"a":1,"b":2}', {"b": 3}) == b'{"a":1,"b":3}'


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"[{},", b"[" * 100_000, b"\xff"])
def test_tables_that_are_none(text):
    with pytest.raises(CrossdockError) as caught:
        decode_rows(text)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b'{"a":' * 100_000])
def test_templates_that_are_none(text):
    with pytest.raises(CrossdockError) as caught:
        member_payload(text, {})
    assert caught.value.code is Code.INVALID
