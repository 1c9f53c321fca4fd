"""json-bus between bytes and messages: pure functions, safe on any input.

What is read may come from anybody: members that are unknown stay, as JSON text, ``params`` may be a list and ``createTime``
any text. What is written suits the strictest reader known, the PHP library: ``type`` in lower case, UTF-8 without a byte
order mark, no NaN, no more than 512 levels of nesting.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Raw

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import check_size
from crossdock.protocols.jsonbus.json_text import Members, read_members, string_in, too_deep
from crossdock.protocols.jsonbus.messages import Message, Refused
from crossdock.protocols.jsonbus.reading import ANSWERS, READERS, Wrong
from crossdock.protocols.jsonbus.writing import WRITERS

MAX_DEPTH: Final = 512
"""Levels of nesting that a message may have, its own object included: what PHP reads."""

_BOM: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_TOO_DEEP: Final = f"it is nested deeper than {MAX_DEPTH} levels"

_anything: Final = msgspec.json.Decoder(Raw)


def decode(body: bytes) -> Message | Refused:
    """Return the message in a body, or why there is none. It never raises.

    Of a repeated member the last one counts, as in PHP. Half of a surrogate pair is refused wherever it stands, as
    PHP refuses it too: there is no UTF-8 for it. Numbers stay as they are written, however long.
    """
    try:
        members = _read(body)
    except Wrong as wrong:
        return Refused(reason=str(wrong))
    kind = string_in(members.get("type"))
    # The ids of an answer are not those of somebody who could be answered.
    asks = kind not in ANSWERS
    request_id, client_id = (string_in(members.get(name)) if asks else None for name in ("id", "clientId"))
    try:
        return _message(members, kind, body)
    except Wrong as wrong:
        return Refused(reason=str(wrong), request_id=request_id, client_id=client_id)


def encode(message: Message) -> bytes:
    """Return the body of a message.

    Raises:
        CrossdockError: ``invalid`` if the receiver could not read it: params, data or further members that are no JSON text,
            too many levels of nesting, half of a surrogate pair.
    """
    try:
        body = msgspec.json.encode(WRITERS[type(message)](message))
        if not body.isascii():
            str(body, "utf-8")
        _anything.decode(body)
    except UnicodeError:
        raise _unsendable("it has text that is not sound UTF-8") from None
    except msgspec.DecodeError as error:
        raise _unsendable(f"it has a member that is no JSON text: {_reason(error)}") from None
    except RecursionError:
        raise _unsendable(_TOO_DEEP) from None
    if too_deep(body, MAX_DEPTH):
        raise _unsendable(_TOO_DEEP)
    return body


def create_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as we write ``createTime``: ``2026-11-22T17:01:45Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(body: bytes) -> Members:
    """Return the members of the object that a body is."""
    if body.startswith(_BOM):
        raise Wrong("it begins with a byte order mark; send UTF-8 without one")
    try:
        if not body.isascii():
            str(body, "utf-8")
        return read_members(body)
    except UnicodeDecodeError as error:
        raise Wrong(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Wrong(_TOO_DEEP) from None
    except msgspec.ValidationError:
        raise Wrong("it is no JSON object") from None
    except msgspec.DecodeError as error:
        raise Wrong(f"it is no JSON text: {_reason(error)}") from None


def _message(members: Members, kind: str | None, body: bytes) -> Message:
    if too_deep(body, MAX_DEPTH):
        raise Wrong(_TOO_DEEP)
    if "type" not in members:
        raise Wrong("the member 'type' is missing")
    read = READERS.get(kind or "")
    if read is None:
        raise Wrong(f"'type' must be one of {', '.join(READERS)}, in lower case")
    if kind not in ANSWERS:
        # Whoever carries a request out builds every value of it, and a short text can stand for a lot of memory.
        try:
            check_size(body)
        except CrossdockError as error:
            raise Wrong(error.message) from None
    del members["type"]
    return read(members)


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def _unsendable(why: str) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"this cannot be sent over json-bus: {why}")
