import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import MAX_VALUES
from crossdock.http.strict_json import INLINE_BYTES, MAX_DEPTH, parse, strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_json_comes_back(value):
    assert strict_json(json.dumps(value).encode()) == value
    assert strict_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_invalid(text):
    try:
        strict_json(text)
    except CrossdockError as error:
        assert error.code is Code.INVALID  # noqa: PT017 - that nothing is raised is fine too


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"NaN", "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"1e999", "too large"),
        (b"[-1e999]", "too large"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        (b'{"x": {"a": 1, "a": 1}}', "twice"),
        (rb'"\ud800"', "surrogate"),
        (rb'{"\udfff": 1}', "surrogate"),
        (b"9" * 5000, "digits"),
        (b"-" + b"9" * 5000, "digits"),
        (b"[" * 100_000, "nested deeper"),
        (b"[" * 101 + b"]" * 101, "nested deeper"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested deeper"),
        (b"", "line 1"),
        (b"{", "line 1, column 2"),
        (b"[1,]", "line 1"),
        (b"[1] 2", "Extra data"),
        (b'"\xff"', "UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "line 1"),
    ],
)
def test_what_is_refused_says_why(text, words):
    with pytest.raises(CrossdockError) as caught:
        strict_json(text)
    assert caught.value.code is Code.INVALID
    assert words in caught.value.message
    assert len(caught.value.message) < 200


def test_the_deepest_that_is_taken():
    value = strict_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == MAX_DEPTH - 1


def test_brackets_in_strings_are_not_depth():
    assert strict_json(b'"' + b"[{" * 500 + b'\\"["') == "[{" * 500 + '"['


def test_large_numbers_that_fit():
    assert strict_json(b"1e308") == 1e308
    assert strict_json(b"1e-999") == 0
    assert strict_json(b"9" * 100) == int("9" * 100)
    assert not math.isinf(strict_json(b"1.7976931348623157e308"))


def test_a_whole_surrogate_pair_is_fine():
    assert strict_json(rb'"\ud83d\ude00"') == "😀"


async def test_big_texts_are_parsed_too():
    text = json.dumps(list(range(INLINE_BYTES // 4))).encode()
    assert len(text) > INLINE_BYTES
    assert await parse(text) == list(range(INLINE_BYTES // 4))
    with pytest.raises(CrossdockError):
        await parse(text + b"]")


def test_a_short_text_that_stands_for_a_lot_of_memory_is_refused():
    many = b"[" + b"{}," * MAX_VALUES + b"{}]"
    with pytest.raises(CrossdockError) as caught:
        strict_json(many)
    assert caught.value.code is Code.TOO_LARGE


def test_commas_inside_of_strings_are_no_values():
    assert strict_json(b'["' + b',\\"{' * MAX_VALUES + b'"]') == [',"{' * MAX_VALUES]
