"""The codec by laws: what is written is read back, and whatever comes in is a message or refused, never an error."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossdock.protocols.jsonbus import messages
from crossdock.protocols.jsonbus.codec import decode, encode
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.messages import Job, Message, Notification, Refused, Request, Result, Task
from crossdock.protocols.jsonbus.payloads import fingerprint, payload_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KNOWN = {
    "type",
    "id",
    "clientId",
    "subject",
    "requestId",
    "taskId",
    "createTime",
    "status",
    "message",
    "job",
    "data",
    "params",
}


def written(value: object) -> bytes:
    return json.dumps(value).encode()


texts = values.map(written)
data = st.none() | texts
params = st.none() | (st.dictionaries(st.text(), values, max_size=4) | st.lists(values, max_size=4)).map(written)
extra = st.dictionaries(st.text().filter(lambda name: name not in KNOWN | {"attempt"}), texts, max_size=3)
word = st.text(max_size=30)

requests = st.builds(Request, id=word, client_id=word, subject=word, params=params, data=data, extra=extra)
tasks = st.builds(
    Task,
    id=word,
    request_id=word,
    create_time=word,
    status=st.sampled_from(messages.TaskStatus.__args__),
    params=params,
    data=data,
    extra=extra,
)
jobs = st.builds(
    Job,
    id=word,
    task_id=word,
    create_time=word,
    status=st.sampled_from(messages.JobStatus.__args__),
    params=params,
    data=data,
    attempt=st.none() | st.integers(-(2**63), 2**64 - 1),
    extra=extra,
)
notifications = st.builds(
    Notification, request_id=word, status=st.sampled_from(messages.Ending.__args__), message=word, data=data, extra=extra
)
results = st.builds(Result, job=jobs, data=data, extra=extra)
any_message = st.one_of(requests, tasks, jobs, notifications, results)


@given(any_message)
def test_what_is_written_is_read_as_the_same(message):
    body = encode(message)
    assert decode(body) == message
    assert body.startswith(b'{"type":"' + type(message).__name__.lower().encode() + b'"')
    assert encode(decode(body)) == body  # type: ignore[arg-type]


@given(any_message)
def test_another_reader_of_json_sees_the_same(message):
    wire = json.loads(encode(message))
    if message.data is not None:
        assert wire["data"] == json.loads(message.data)
    for name, text in message.extra.items():
        assert wire[name] == json.loads(text)


NAMES = [f'"{name}"'.encode() for name in ("type", "request", "result", "job", "id", "status", "clientId", "params")]
MARKS = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"-", b".", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"]
fragments = st.sampled_from([*NAMES, *MARKS, b"null", b"1", b"e5", b"NaN", b"\\ud800"])


@given(st.binary() | st.lists(fragments, max_size=40).map(b"".join) | texts)
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b'{"type":"result","job":{"type":{}}}')
@example(b'{"type":{"type":"request"}}')
def test_garbage_is_a_message_or_refused(body):
    assert isinstance(decode(body), Message | Refused)


@given(any_message, st.data())
def test_a_damaged_message_is_a_message_or_refused(message, draw):
    body = encode(message)
    start = draw.draw(st.integers(0, len(body)))
    end = draw.draw(st.integers(start, min(start + 5, len(body))))
    assert isinstance(decode(body[:start] + draw.draw(fragments | st.binary(max_size=3)) + body[end:]), Message | Refused)


members = st.dictionaries(
    st.sampled_from([*sorted(KNOWN), "attempt"]), values | st.sampled_from(["request", "job", "result", "new"])
)


@given(members)
@settings(max_examples=400)
def test_members_of_any_type_are_a_message_or_refused(wire):
    decoded = decode(written(wire))
    if isinstance(decoded, Refused):
        assert decoded.reason
        for told, name in ((decoded.request_id, "id"), (decoded.client_id, "clientId")):
            assert told is None or told == wire[name]
    else:
        assert decode(encode(decoded)) == decoded


# Lists that PHP made objects of


def php(value: object) -> bytes:
    """Write a value as PHP does with JSON_FORCE_OBJECT: lists are objects, and slashes have a backslash."""
    return json.dumps(forced(value), separators=(",", ":")).replace("/", "\\/").encode()


def forced(value: object) -> object:
    if isinstance(value, list):
        return {str(position): forced(item) for position, item in enumerate(value)}
    return {name: forced(item) for name, item in value.items()} if isinstance(value, dict) else value


def sure(value: object) -> object:
    """Return a value whose lists and objects can be told apart once PHP has written it: no list is empty."""
    if isinstance(value, list):
        return [sure(item) for item in value] or {}
    return {f"n{name}": sure(item) for name, item in value.items()} if isinstance(value, dict) else value


@given(values.map(sure))
@example([[{"n": ["/", {}]}], "0"])
def test_lists_come_back_from_php(value):
    assert json.loads(listed(php(value))) == value


@given(values.map(sure))
def test_what_has_no_such_objects_stays_byte_by_byte(value):
    assert listed(written(value)) == written(value)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ('{"0":1}', "[1]"),
        ('{"0":1.50,"1":1e3,"2":12345678901234567890123}', "[1.50,1e3,12345678901234567890123]"),
        ('{"0":{"0":{"0":{}}},"1":[]}', "[[[{}]],[]]"),
        ('{ "0" : "a" ,\n"1" : {"b": {"0":"0"}} }', '[   "a" ,\n  {"b": ["0"]} ]'),
        ('{"a":{"0":"\\"0\\":","1":"}"}}', '{"a":["\\"0\\":","}"]}'),
        ('{"0":"0","1":"1","2":"2","3":"3","4":"4","5":"5","6":"6","7":"7","8":"8","9":"9","10":"0"}',
         '["0","1","2","3","4","5","6","7","8","9","0"]'),
    ],
)  # fmt: skip
def test_objects_that_become_lists(text, repaired):
    assert listed(text.encode()) == repaired.encode()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "0",
        '"0"',
        '["0",{"a":"0"}]',
        '{"1":1,"0":0}',
        '{"0":0,"2":2}',
        '{"0":0,"0":1}',
        '{"00":0}',
        '{"0":0,"a":1}',
    ],
)
def test_objects_that_stay(text):
    assert listed(text.encode()) == text.encode()


@pytest.mark.parametrize("inner", [b"{}", b"1"])
def test_lists_in_lists_as_deep_as_messages_may_be(inner):
    assert listed(b'{"0":' * 500 + inner + b"}" * 500) == b"[" * 500 + inner + b"]" * 500


# Payloads


@pytest.mark.parametrize(
    ("params", "data", "payload"),
    [
        (None, None, b"{}"),
        (None, b"null", b"{}"),
        (None, b"1.0", b'{"data":1.0}'),
        (b'{ "b":1.50, "a":2 }', None, b'{ "b":1.50, "a":2 }'),
        (b'{"a":2}', b"null", b'{"a":2}'),
        (b'{"b": 1.50,"a":2}', b'{"x" : 1e3}', b'{"b":1.50,"a":2,"data":{"x" : 1e3}}'),
        (b'{"data":1,"a":2}', b"3", b'{"data":3,"a":2}'),
        (b'{"data":1}', b"null", b'{"data":1}'),
        (b"[]", None, b"{}"),
        (b'["a",{"0":1.0}]', None, b'{"0":"a","1":{"0":1.0}}'),
        (b'["a"]', b"[]", b'{"0":"a","data":[]}'),
    ],
)
def test_the_payload_of_a_message(params, data, payload):
    assert payload_of(params, data) == payload


def request(**members: object) -> Request:
    return Request(**{"id": "r", "client_id": "c", "subject": "s", **members})  # type: ignore[arg-type]


@given(requests, st.randoms())
def test_the_order_of_members_and_whitespace_do_not_tell_requests_apart(message, random):
    def shuffled(value: object) -> object:
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if isinstance(value, dict):
            return {name: shuffled(value[name]) for name in random.sample(sorted(value), len(value))}
        return value

    other = request(subject=message.subject, id="other", extra={"x": b"1"}, **{
        name: None if text is None else json.dumps(shuffled(json.loads(text)), indent=1, ensure_ascii=False).encode()
        for name, text in (("params", message.params), ("data", message.data))
    })  # fmt: skip
    assert fingerprint(message) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"params": b'{"a":1}'}, {"params": b'{"a":1.0}'}),
        ({"params": b'{"a":10.0}'}, {"params": b'{"a":1e1}'}),
        ({"params": b'{"a":1}'}, {"params": b'{"a":"1"}'}),
        ({"params": b'{"a":1.5}'}, {"params": b'{"a":"1.5"}'}),
        ({"params": b'{"a":{}}'}, {"params": b'{"a":[]}'}),
        ({"params": b'{"a":null}'}, {"params": b"{}"}),
        ({"params": b'{"a":[1,2]}'}, {"params": b'{"a":[2,1]}'}),
        ({"data": b"1"}, {"data": b"2"}),
        ({"data": b'{"a":12345678901234567890123}'}, {"data": b'{"a":12345678901234567890124}'}),
        ({"data": b"1" * 5000}, {"data": b"1" * 5001}),
        ({"subject": "s"}, {"subject": "t"}),
        ({"subject": 's"\n{}'}, {"subject": "s"}),
    ],
)
def test_requests_that_differ(one, other):
    assert fingerprint(request(**one)) != fingerprint(request(**other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"params": b"{}", "data": b"null"}),
        ({"params": b'["a"]'}, {"params": b'{"0":"a"}'}),
        ({"params": b'{"a":"\\u00e9\\/"}'}, {"params": '{"a":"\u00e9/"}'.encode()}),
        ({"params": b'{"a":{"x":1,"y":2}}'}, {"params": b'{"a":{"y":2,"x":1}}'}),
        ({"data": b"1" * 5000}, {"data": b"1" * 5000}),
        ({"data": b"1e999"}, {"data": b" 1e999"}),
        ({"data": b"[" * 511 + b"]" * 511}, {"data": b"[ " * 511 + b"] " * 511}),
    ],
)
def test_requests_that_are_the_same(one, other):
    assert fingerprint(request(**one)) == fingerprint(request(**other, id="r2", client_id="c2"))
