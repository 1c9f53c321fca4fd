"""Identifiers: numbers that grow, and their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import IdSource, MemberId, decode_any, decode_id, encode_id, encode_member, issued_at

ANY = (("kind", "work"),)


@given(st.integers(0, 2**63 - 1))
def test_ids_can_be_read_back_and_sort_as_text_like_as_numbers(number):
    text = encode_id(number)
    assert len(text) == 13
    assert decode_id(text) == decode_id(text.upper()) == number
    assert (text < encode_id(2**62)) == (number < 2**62)


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**8))
def test_member_ids_can_be_read_back(array, index):
    assert decode_any(encode_member(MemberId(array, index))) == MemberId(array, index)
    assert decode_any(encode_id(array)) == array


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0" * 12,
        "0" * 14,
        "i" * 13,
        "z" * 13,
        "0" * 13 + ".",
        "0" * 13 + ".x",
        "0" * 13 + ".-1",
        "0" * 13 + ".٣",
        ".1",
    ],
)
def test_text_that_is_no_id_names_nothing(text):
    with pytest.raises(CrossdockError) as caught:
        decode_any(text)
    assert caught.value.code is Code.NOT_FOUND


@given(st.lists(st.floats(0, 2e9)))
def test_ids_grow_whatever_the_clock_does(times):
    source = IdSource(last=5)
    ids = [source.next(wall) for wall in times]
    assert ids == sorted(set(ids))
    assert all(number > 5 for number in ids)


def test_ids_say_when_they_were_issued():
    assert issued_at(IdSource().next(1_700_000_000.123)) == pytest.approx(1_700_000_000.123, abs=0.002)
