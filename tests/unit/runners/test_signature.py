"""Signatures as schemas and checks of payloads."""

import datetime as dt
import enum
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.function import Context
from crossdock.runners.function.signature import Parameters, result_schema


class Colour(enum.Enum):
    RED = "red"


class Point(pydantic.BaseModel):
    x: float
    y: float = 0.0


def everything(  # noqa: PLR0917
    ctx: Context,
    count: int,
    at: dt.datetime,
    share: Annotated[float, pydantic.Field(gt=0, description="part of the whole")] = 0.5,
    colour: Colour = Colour.RED,
    path: tuple[Point, ...] = (),
    mode: Literal["fast", "slow"] = "fast",
    schema: str | None = None,
    anything: Any = None,
) -> None: ...


def refusal(function: Callable[..., object], payload: str | bytes, raw: bool = False) -> str:
    with pytest.raises(CrossdockError) as caught:
        Parameters(function, raw).check(payload if isinstance(payload, bytes) else payload.encode())
    assert caught.value.code is Code.INVALID
    return caught.value.message


def test_a_payload_becomes_arguments() -> None:
    payload = '{"count": 3, "at": "2026-11-22T12:00:00Z", "path": [{"x": 1}], "colour": "red", "schema": "s"}'
    bound = Parameters(everything, raw=False).bind(payload.encode())
    assert bound == {
        "count": 3,
        "at": dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC),
        "path": (Point(x=1),),
        "colour": Colour.RED,
        "schema": "s",
    }


def test_the_schema_describes_the_payload() -> None:
    schema = Parameters(everything, raw=False).schema
    assert schema["type"] == "object"
    assert schema["required"] == ["count", "at"]
    assert schema["additionalProperties"] is False
    assert "ctx" not in schema["properties"]
    share = schema["properties"]["share"]
    assert (share["default"], share["exclusiveMinimum"], share["description"]) == (0.5, 0, "part of the whole")
    assert schema["properties"]["colour"]["default"] == "red"
    json.dumps(schema)


@pytest.mark.parametrize(
    ("payload", "complaints"),
    [
        ("{}", ["count is missing", "at is missing"]),
        ('{"count": "3", "at": "2026-11-22"}', ["count: Input should be a valid integer"]),
        ('{"count": 3.0, "at": "2026-11-22T00:00:00"}', ["count: "]),
        ('{"count": true, "at": "2026-11-22T00:00:00"}', ["count: "]),
        ('{"count": 1, "at": "soon"}', ["at: "]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "cuont": 2}', ["cuont is unknown (expected: count, at, share"]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "path": [{"x": "1"}]}', ["path.0.x: "]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "share": 0}', ["share: Input should be greater than 0"]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "share": 1e999}', ["share: "]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "anything": NaN}', ["not JSON"]),
        ('{"count": 1, "at": "2026-11-22T00:00:00", "anything": [-Infinity]}', ["not JSON"]),
        ("[1]", ["object"]),
        ("", ["Invalid JSON"]),
        ('{"count": 1', ["Invalid JSON"]),
        ("[" * 100_000, ["Invalid JSON"]),
        (b'{"count": "\xff"}', ["Invalid JSON"]),
    ],
)
def test_what_does_not_fit_is_named(payload: str | bytes, complaints: list[str]) -> None:
    message = refusal(everything, payload)
    for complaint in complaints:
        assert complaint in message


def test_a_complaint_stays_short_and_quotes_no_values() -> None:
    members = {f"wrong{i}": "SECRET" * 1000 for i in range(1000)} | {"count": "SECRET", "x" * 10_000: 1}
    message = refusal(everything, json.dumps(members))
    assert len(message) < 2000
    assert "SECRET" not in message
    assert "more" in message


def test_names_in_strings_are_no_constants() -> None:
    assert (
        Parameters(everything, raw=False).bind(b'{"count": 1, "at": "2026-11-22T00:00:00Z", "schema": "NaN and Infinity"}')[
            "schema"
        ]
        == "NaN and Infinity"
    )


def test_raw_takes_any_json() -> None:
    def plain(payload: object) -> None: ...

    parameters = Parameters(plain, raw=True)
    for text in (b"null", b"[1, 2]", b'"x"', b"1e3", b"{}"):
        assert parameters.bind(text) == {"payload": json.loads(text)}
    for text in ("NaN", "", "{", "nul", "'x'"):
        refusal(plain, text, raw=True)


def test_raw_may_still_name_a_type() -> None:
    def points(ctx: Context, payload: list[Point]) -> None: ...

    assert Parameters(points, raw=True).bind(b'[{"x": 1}]') == {"payload": [Point(x=1)]}
    assert "0.x" in refusal(points, '[{"x": "1"}]', raw=True)


def test_the_context_is_found_by_its_type_or_name() -> None:
    def typed(context: Context, a: int) -> None: ...
    def named(ctx, a) -> None: ...
    def other(ctx: int) -> None: ...
    def none() -> None: ...

    assert [Parameters(f, raw=False).takes_context for f in (typed, named, other, none)] == [True, True, False, False]


def test_further_keywords_take_further_members() -> None:
    def f(a: int, **more: object) -> None: ...

    assert Parameters(f, raw=False).bind(b'{"a": 1, "b": 2}') == {"a": 1, "b": 2}


def test_a_default_that_is_no_json_is_left_out_of_the_schema() -> None:
    nothing = object()

    def f(a: Any = nothing) -> None: ...

    assert "default" not in Parameters(f, raw=False).schema["properties"]["a"]
    assert Parameters(f, raw=False).bind(b"{}") == {}


def test_signatures_that_no_payload_can_fill_are_refused() -> None:
    def positional(a: int, /) -> None: ...
    def starred(*a: int) -> None: ...
    def two(a: int, b: int) -> None: ...
    def odd(a: "threading.Event") -> None: ...  # noqa: F821

    for function, raw, words in [
        (positional, False, "ordinary parameters"),
        (starred, False, "ordinary parameters"),
        (two, True, "exactly one parameter"),
        (odd, False, "cannot be resolved"),
    ]:
        with pytest.raises(TypeError, match=words):
            Parameters(function, raw)


class Opaque:
    """Nothing pydantic knows."""


def test_types_that_json_cannot_carry_are_refused() -> None:
    def opaque(a: Opaque) -> None: ...

    with pytest.raises(TypeError, match="JSON cannot carry"):
        Parameters(opaque, raw=False)


def test_the_result_is_described_if_it_can_be() -> None:
    def point() -> Point: ...  # type: ignore[empty-body]
    def opaque() -> Opaque: ...  # type: ignore[empty-body]
    def silent(): ...

    assert result_schema(point)["title"] == "Point"
    assert result_schema(opaque) == {}
    assert result_schema(silent) == {}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_taken_or_refused(payload: bytes) -> None:
    parameters = Parameters(everything, raw=False)
    with suppress(CrossdockError):
        parameters.check(payload)
