"""The codec against its laws, the examples of the protocol page, and whatever else may come in."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import MAX_VALUES
from crossdock.protocols.longpost.codec import decode_reply, decode_request, encode_reply, encode_request
from crossdock.protocols.longpost.messages import Answer, Cargo, Get, Part, Start, Stop, Token

PAGE = Path(__file__).parents[3] / "docs/protocols/longpost.md"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
tokens = (st.text() | st.integers(0, 10**20) | st.floats(allow_nan=False, allow_infinity=False)).map(
    lambda value: Token(json.dumps(value).encode())
)
requests = (
    json_values.map(lambda value: Start(json.dumps(value).encode())) | tokens.map(Get) | tokens.map(Stop) | tokens.map(Cargo)
)
results = st.none() | st.text() | st.lists(tokens, min_size=1, max_size=3).map(tuple)
replies = st.builds(Answer, tokens, st.booleans(), st.booleans(), results) | st.builds(Part, tokens, st.text())


def examples(what: str) -> list[bytes]:
    return [block.encode() for block in re.findall(rf"```json {what}\n(.*?)\n```", PAGE.read_text(), re.DOTALL)]


def problem(decode, body: bytes) -> Code | None:
    try:
        decode(body)
    except CrossdockError as error:
        return error.code
    return None


@given(requests)
def test_a_request_comes_back_as_it_was(request):
    assert decode_request(encode_request(request)) == request


@given(replies)
def test_a_reply_comes_back_as_it_was_and_is_ascii(reply):
    body = encode_reply(reply)
    assert decode_reply(body) == reply
    assert body.isascii()


@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"\xff\xfe")
@example(b"\xef\xbb\xbf")
@example(b"\0\0\0[")
@example(b'{"action":"get","token":"\\ud800"}')
@example(b'{"token":1,"result":["\\ud800"],"done":true,"continue":true}')
def test_anything_else_is_invalid_and_nothing_worse(body):
    assert problem(decode_request, body) in (None, Code.INVALID)
    assert problem(decode_reply, body) in (None, Code.INVALID)


@pytest.mark.parametrize("body", examples("request"))
def test_the_requests_of_the_page(body):
    message = decode_request(body)
    assert json.loads(encode_request(message)) == json.loads(body)


@pytest.mark.parametrize("body", examples("reply"))
def test_the_replies_of_the_page(body):
    reply = decode_reply(body)
    assert json.loads(encode_reply(reply)) == json.loads(body)


def test_the_page_shows_every_message():
    assert {type(decode_request(body)) for body in examples("request")} == {Start, Get, Stop, Cargo}
    assert {type(decode_reply(body)) for body in examples("reply")} == {Answer, Part}


NINES = b"9" * 5000
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'"start"',
        b"{}",
        b'{"action":null}',
        b'{"action":1}',
        b'{"action":["start"]}',
        b'{"action":"Start"}',
        b'{"action":"START"}',
        b'{"action":"launch"}',
        b'{"action":"start"} {}',
        b'{"action":"get"}',
        b'{"action":"stop"}',
        b'{"action":"cargo"}',
        b'{"action":"get","token":null}',
        b'{"action":"stop","token":null}',
        b'{"action":"get","token":[]}',
        b'{"action":"get","token":{}}',
        b'{"action":"get","token":"\\ud800 half of a pair"}',
        b'{"action":"get","token":' + DEEP + b"}",
        b'{"action":"start","payload":NaN}',
        b'{"action":"start","payload":-Infinity}',
        b'{"action":"start","payload":1e999}',
        b'{"action":"start","payload":[[1e999]]}',
        b'{"action":"start","payload":' + NINES + b"}",
        b'{"action":"start","payload":' + DEEP + b"}",
        b'{"action":"start","unknown":' + DEEP + b"}",
        b'{"action":"start","payload":"\\udc00 half of a pair"}',
        b'{"action":"start","payload":{"\\ud800 half":1}}',
        b'{"action":"start","payload":"\xff"}',
        b'{"action":"start","unknown":"\xed\xa0\x80"}',
        b'{"action":"start","payload":01}',
        b'{"action":"start","payload":"\n"}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_malformed_requests_are_invalid(body):
    with pytest.raises(CrossdockError) as caught:
        decode_request(body)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"action":"start"}', Start(b"{}")),
        (b'{"action":"start","payload":null}', Start(b"null")),
        (b'{"action":"start","payload": [1, 2] }', Start(b"[1, 2]")),
        (b'{"action":"start","payload":"plain"}', Start(b'"plain"')),
        ('{"action":"start","payload":"ä"}'.encode(), Start('"ä"'.encode())),
        (b'{"action":"start","token":[],"extra":{"a":1}}', Start(b"{}")),
        (b'{"action":"stop","action":"start"}', Start(b"{}")),
        (b'{"action":"start","payload":1,"payload":2}', Start(b"2")),
        (b'\xef\xbb\xbf{"action":"start"}', Start(b"{}")),
        ('{"action":"start","payload":"ä"}'.encode("utf-16"), Start('"ä"'.encode())),
        ('{"action":"start","payload":"ä"}'.encode("utf-16-le"), Start('"ä"'.encode())),
        ('{"action":"start","payload":"ä"}'.encode("utf-32"), Start('"ä"'.encode())),
        (b'{"action":"get","token":' + NINES + b"}", Get(Token(NINES))),
        (b'{"action":"get","token":1e999}', Get(Token(b"1e999"))),
        (b'{"action":"get","token":true}', Get(Token(b"true"))),
        (b'{"action":"get","token":""}', Get(Token(b'""'))),
        (b'{"action":"get","token":1.5}', Get(Token(b"1.5"))),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_odd_requests_that_are_understood(body, message):
    assert decode_request(body) == message


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (b'"123"', "123"),
        (b"123", "123"),
        (b'"\\u0031\\u0032\\u0033"', "123"),
        (b'"' + b"".join(b"\\u003%d" % digit for digit in map(int, str(2**53 - 1))) + b'"', str(2**53 - 1)),
        (b"0", "0"),
        (b"9007199254740991", "9007199254740991"),
        (b"9007199254740992", None),
        (b'"0123"', None),
        (b'" 123"', None),
        (b"1.5", None),
        (b"123.0", None),
        (b"1e3", None),
        (b"-1", None),
        (b"true", None),
        (b'""', None),
        ('"١٢٣"'.encode(), None),
        (NINES, None),
        (b'"' + NINES + b'"', None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_which_tokens_name_a_task(text, task):
    assert Token(text).task == task


@pytest.mark.parametrize(
    ("text", "cargo"),
    [
        (b'"' + b"0a" * 16 + b'"', "0a" * 16),
        (b'"' + b"0A" * 16 + b'"', None),
        (b'"' + b"0a" * 15 + b'"', None),
        (b"1" * 32, None),
        (b'"constructor"', None),
    ],
)
def test_which_tokens_name_cargo(text, cargo):
    assert Token(text).cargo == cargo


def test_cargo_replies_of_servers_that_send_all_four_members():
    body = b'{"continue": false, "done": true, "result": "part", "token": "1"}'
    assert decode_reply(body) == Answer(Token(b'"1"'), done=True, more=False, result="part")


@pytest.mark.parametrize(
    "body",
    [
        b'{"token":"1","result":null}',
        b'{"token":"1","result":["a"]}',
        b'{"result":"x"}',
        b'{"token":"1","done":1,"continue":0}',
    ],
)
def test_malformed_replies_are_invalid(body):
    with pytest.raises(CrossdockError) as caught:
        decode_reply(body)
    assert caught.value.code is Code.INVALID


def test_a_payload_that_stands_for_a_lot_of_memory_is_refused():
    body = b'{"action":"start","payload":[' + b"{}," * MAX_VALUES + b"{}]}"
    with pytest.raises(CrossdockError) as caught:
        decode_request(body)
    assert caught.value.code is Code.TOO_LARGE
