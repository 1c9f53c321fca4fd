"""LONGPOST between bytes and messages: two functions each way, pure, and safe on any input.

Everything written is ASCII, so that no reader has to guess an encoding. What is read may be UTF-8 with or without a byte
order mark, or UTF-16 and UTF-32, as the readers in the field take those too.
"""

import json
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import check_size
from crossdock.protocols.longpost.messages import Answer, Cargo, Get, Part, Reply, Request, Start, Stop, Token

_BOM: Final = b"\xef\xbb\xbf"
_MISSING: Final = Raw()
_NULL: Final = b"null"
_WITH_TOKEN: Final[dict[str, type[Get | Stop | Cargo]]] = {"get": Get, "stop": Stop, "cargo": Cargo}
_ACTIONS: Final = {message: action.encode() for action, message in _WITH_TOKEN.items()}

Wire = TypeVar("Wire")


class _RequestWire(Struct):
    action: str
    token: Raw = _MISSING
    payload: Raw = _MISSING


class _ReplyWire(Struct):
    token: Raw
    result: str | list[Raw] | None = None
    done: bool | None = None
    more: bool | None = field(name="continue", default=None)


_requests: Final = msgspec.json.Decoder(_RequestWire)
_replies: Final = msgspec.json.Decoder(_ReplyWire)
_anything: Final = msgspec.json.Decoder()


def encode_request(request: Request) -> bytes:
    """Return the body of a request."""
    if isinstance(request, Start):
        return b'{"action":"start","payload":%b}' % request.payload
    return b'{"action":"%b","token":%b}' % (_ACTIONS[type(request)], request.token.json)


def decode_request(body: bytes) -> Request:
    """Return the request in a body.

    Members the protocol does not know are ignored; of a repeated member the last one counts.

    Raises:
        CrossdockError: ``invalid`` if the body is no request, ``too_large`` if there are too many values in it.
    """
    check_size(body)
    wire = _read(_requests, body)
    if wire.action == "start":
        return Start(_checked(bytes(wire.payload) or b"{}"))
    message = _WITH_TOKEN.get(wire.action)
    if message is None:
        raise CrossdockError(Code.INVALID, "'action' must be one of start, get, stop and cargo")
    return message(_token(wire.token))


def encode_reply(reply: Reply) -> bytes:
    """Return the body of a reply, in ASCII."""
    if isinstance(reply, Part):
        return b'{"token":%b,"result":%b}' % (reply.token.json, _string(reply.result))
    done, more = (b"true" if flag else b"false" for flag in (reply.done, reply.more))
    return b'{"token":%b,"done":%b,"continue":%b,"result":%b}' % (reply.token.json, done, more, _result(reply.result))


def decode_reply(body: bytes) -> Reply:
    """Return the reply in a body. A cargo reply may come with ``done`` and ``continue``, as some servers send it.

    Raises:
        CrossdockError: ``invalid`` if the body is no reply.
    """
    wire = _read(_replies, body)
    token = _token(wire.token)
    if wire.done is None or wire.more is None:
        if not isinstance(wire.result, str):
            raise CrossdockError(Code.INVALID, "the reply has neither 'done' and 'continue' nor a text as 'result'")
        return Part(token, wire.result)
    if isinstance(wire.result, list):
        return Answer(token, wire.done, wire.more, tuple(_token(item) for item in wire.result))
    return Answer(token, wire.done, wire.more, wire.result)


def _read(decoder: msgspec.json.Decoder[Wire], body: bytes) -> Wire:
    """Decode a body, whatever may be wrong with it, or say that it is invalid."""
    try:
        return decoder.decode(_utf8(body))
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise CrossdockError(Code.INVALID, f"the body is not a message of the protocol: {_reason(error)}") from None


def _utf8(body: bytes) -> bytes:
    """Return the body as UTF-8 without a mark, checked: skipped members would otherwise pass unchecked."""
    if body.isascii() and b"\0" not in body[:4]:
        return body
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        str(body, "utf-8")
        return body.removeprefix(_BOM)
    return body.decode(encoding).encode()


def _checked(document: bytes) -> bytes:
    """Return a payload that every JSON parser will take: no number out of range, no half of a surrogate pair."""
    try:
        _anything.decode(document)
    except (ValueError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"'payload' is not sound JSON: {_reason(error)}") from None
    return document


def _token(raw: Raw) -> Token:
    text = bytes(raw)
    if not text or text == _NULL or text[:1] in b"[{":
        raise CrossdockError(Code.INVALID, "'token' must be a string or a number")
    if text[:1] == b'"':
        _checked(text)
    return Token(text)


def _result(result: str | tuple[Token, ...] | None) -> bytes:
    if result is None:
        return _NULL
    if isinstance(result, str):
        return _string(result)
    return b"[%b]" % b",".join(token.json for token in result)


def _string(text: str) -> bytes:
    return json.dumps(text).encode("ascii")


def _reason(error: Exception) -> str:
    """Describe an error without quoting the input, which may be private or hostile."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not sound UTF-8"
    return str(error)
