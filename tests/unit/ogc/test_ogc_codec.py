import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, Subscriber
from crossdock.core.kinds import Kind
from crossdock.core.requests import Submit
from crossdock.protocols.ogc.codec import decode, submit_of
from crossdock.protocols.ogc.messages import BatchRequest, Execute
from crossdock.protocols.ogc.prefer import Preference, parse_prefer
from crossdock.protocols.ogc.times import parse_instant, parse_interval, rfc3339

ADD = Kind(name="add", inputs={"type": "object", "properties": {"a": {"type": "integer"}, "o": {"type": "object"}}})
RAW = Kind(name="echo", raw=True)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def translate(body, kind=ADD, tenant="t", key=None):
    return submit_of(decode(body, Execute), kind, tenant=tenant, key=key)


ROWS = [
    (b"{}", Submit(kind="add", payload=b"{}", tenant="t")),
    (b'{"inputs": {"a": 1.0}}', Submit(kind="add", payload=b'{"a": 1.0}', tenant="t")),
    (b'{"inputs":{"a":{"value":1}}}', Submit(kind="add", payload=b'{"a":1}', tenant="t")),
    (b'{"inputs":{"a":{"value":1,"x":2}}}', Submit(kind="add", payload=b'{"a":{"value":1,"x":2}}', tenant="t")),
    (b'{"inputs":{"o":{"value":1}}}', Submit(kind="add", payload=b'{"o":{"value":1}}', tenant="t")),
    (b'{"inputs":{"o":{"value":{}}}}', Submit(kind="add", payload=b'{"o":{}}', tenant="t")),
    (
        b'{"crossdock":{"requires":{"gpu":"a100","env":["c","python3"]}}}',
        Submit(kind="add", tenant="t", requirements=(("env", "c"), ("env", "python3"), ("gpu", "a100"))),
    ),
    (
        b'{"crossdock":{"delay":2.5},"outputs":{"result":{}}}',
        Submit(kind="add", tenant="t", delay=2.5),
    ),
    (
        b'{"crossdock":{"priority":-3,"not_before":5.5}}',
        Submit(kind="add", tenant="t", priority=-3, not_before=5.5),
    ),
    (
        b'{"crossdock":{"not_before":"1970-01-01T00:00:01+00:00","after":["%s"]}}' % encode_id(7).encode(),
        Submit(kind="add", tenant="t", not_before=1.0, after=(7,)),
    ),
    (
        b'{"crossdock":{"array":{"start":1,"stop":10,"step":4,"as":"n"}}}',
        Submit(kind="add", tenant="t", array=ArraySpec(count=3, name="n", start=1, step=4)),
    ),
    (
        b'{"crossdock":{"array":{"table":[{"a":1}, {}]}}}',
        Submit(kind="add", tenant="t", array=ArraySpec(count=2, table=b'[{"a":1}, {}]')),
    ),
    (
        b'{"subscriber":{"successUri":"http://x/1","inProgressUri":"http://x/2","failedUri":"https://x:9/3"}}',
        Submit(
            kind="add",
            tenant="t",
            notify=(
                Subscriber("ogc-callback", "http://x/1", ("succeeded",)),
                Subscriber("ogc-callback", "http://x/2", ("leased",)),
                Subscriber("ogc-callback", "https://x:9/3", ("failed", "cancelled")),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("body", "expected"), ROWS)
def test_execute_requests(body, expected):
    assert translate(body) == expected


@given(JSON)
def test_the_payload_of_a_raw_kind_comes_as_it_was_sent(value):
    text = msgspec.json.encode(value)
    assert translate(b'{"inputs": {"payload": ' + text + b"}}", RAW).payload == text


@given(st.binary(max_size=80))
def test_any_bytes_give_a_request_or_a_declared_error(body):
    for message in (Execute, BatchRequest):
        try:
            decode(body, message)
        except CrossdockError as error:
            assert error.code is Code.INVALID  # noqa: PT017 - that nothing is raised is fine too


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": JSON,
            "outputs": JSON,
            "response": JSON,
            "mode": JSON,
            "subscriber": JSON,
            "crossdock": JSON
            | st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("priority", "tenant", "not_before", "delay", "after", "requires", "array"), JSON)
            ),
        },
    )
)
def test_any_members_give_a_submit_or_a_declared_error(body):
    try:
        translate(msgspec.json.encode(body))
    except CrossdockError as error:
        assert error.code is Code.INVALID  # noqa: PT017 - that nothing is raised is fine too


def test_an_enormous_range_is_counted_exactly():
    body = b'{"crossdock":{"array":{"start":%d,"stop":%d,"step":1}}}' % (-(2**53), 2**53)
    assert translate(body).array.count == 2**54


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preference()),
        (["respond-async"], Preference(respond_async=True)),
        (["Respond-Async, wait=5"], Preference(respond_async=True, wait=5)),
        (["wait=5", "respond-async"], Preference(respond_async=True, wait=5)),
        (['wait="7"; x=y'], Preference(wait=7)),
        (["wait=5, wait=6"], Preference(wait=5)),
        (["wait=x, return=minimal, , =, ;"], Preference()),
        (["wait"], Preference()),
        (["wait=9999999"], Preference()),
    ],
)
def test_preferences(values, expected):
    assert parse_prefer(values) == expected


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_preference_is_read_or_ignored(values):
    parse_prefer(values)


@given(st.floats(0, 4e9))
def test_times_come_back_to_the_millisecond(seconds):
    assert math.isclose(parse_instant(rfc3339(seconds), "x"), seconds, abs_tol=0.0011)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", (1.0, 1.001)),
        ("1970-01-01T00:00:01Z/1970-01-01T00:00:02Z", (1.0, 2.0)),
        ("../1970-01-01T00:00:02Z", (None, 2.0)),
        ("/1970-01-01T00:00:02Z", (None, 2.0)),
        ("1970-01-01T01:00:01+01:00/..", (1.0, None)),
        ("1970-01-02", (86400.0, 86400.001)),
    ],
)
def test_intervals(text, expected):
    assert parse_interval(text, "datetime") == pytest.approx(expected)


@given(st.text(max_size=40))
def test_any_text_is_an_interval_or_refused(text):
    try:
        parse_interval(text, "datetime")
    except CrossdockError as error:
        assert "datetime" in error.message  # noqa: PT017 - that nothing is raised is fine too
