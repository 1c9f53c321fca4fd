"""What functions return, as JSON."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.runners.function.results import NotJson, encode


@dataclasses.dataclass
class Data:
    x: float


class Model(pydantic.BaseModel):
    when: dt.date


class Structure(msgspec.Struct):
    a: int


class Colour(enum.Enum):
    RED = "red"


class Array:
    def tolist(self) -> list[float]:
        return [1.0, float("nan")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (float("nan"), '"NaN"'),
        ([float("inf"), -float("inf")], '["Infinity","-Infinity"]'),
        (Data(float("nan")), '{"x":"NaN"}'),
        (Model(when=dt.date(2026, 11, 22)), '{"when":"2026-11-22"}'),
        ({"deep": [Structure(1)]}, '{"deep":[{"a":1}]}'),
        (Colour.RED, '"red"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        ({1: 2}, '{"1":2}'),
        ({3}, "[3]"),
        ((n for n in range(3)), "[0,1,2]"),
        (Path("/a"), '"/a"'),
        (Array(), '[1.0,"NaN"]'),
        (b"\xff", '"_w=="'),
        (10**40, "1" + "0" * 40),
        ("ä\u2028", '"ä\u2028"'),
    ],
)
def test_written(value: Any, text: str) -> None:
    assert encode(value).decode() == text


class Angry:
    @property
    def tolist(self) -> Any:
        raise RuntimeError("no")


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [object(), [object()], Angry(), endless(), "\ud800", {"f": print}, type])
def test_refused(value: Any) -> None:
    with pytest.raises(NotJson) as caught:
        encode(value)
    assert len(str(caught.value)) < 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_is_written_as_it_is(value: Any) -> None:
    assert json.loads(encode(value)) == value
