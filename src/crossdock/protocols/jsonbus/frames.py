"""Letters as AMQP frames. The library's own way to write them costs more than all else that is done for a letter."""

import struct
from typing import Any, Final

from pamqp import encode

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter

_METHOD: Final = 1
_HEADER: Final = 2
_BODY: Final = 3
_END: Final = b"\xce"
_FRAME: Final = struct.Struct(">BHI")
_PUBLISH: Final = struct.pack(">HHH", 60, 40, 0)
_MANDATORY: Final = b"\x01"
_CONTENT: Final = struct.Struct(">HHQH")
_SHORT: Final = 255
"""Bytes of a short string, which keys and ids are."""

_TYPE: Final = b"\x10application/json\x05utf-8"
_PERSISTENT: Final = b"\x02"
_APP: Final = b"\x09crossdock"
# Bits of the properties, in the order that they are written in.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 14, 1 << 13, 1 << 12
_CORRELATION, _MESSAGE, _TIMESTAMP, _KIND, _APP_ID = 1 << 10, 1 << 7, 1 << 6, 1 << 5, 1 << 3
_ALWAYS: Final = _CONTENT_TYPE | _CONTENT_ENCODING | _DELIVERY_MODE | _MESSAGE | _TIMESTAMP | _KIND | _APP_ID


def publishing(letter: Letter, channel: int, frame_max: int, now: float) -> bytes:
    """Return the frames that publish a letter: mandatory, persistent, with all properties.

    A correlation that is too long for a property is left out; whoever needs it finds it in the body.

    Args:
        letter: what is published.
        channel: its number.
        frame_max: the greatest frame in bytes.
        now: seconds since 1970.

    Raises:
        CrossdockError: ``invalid`` if the key, exchange, id or kind is longer than 255 bytes.
    """
    method = _PUBLISH + _short(letter.exchange) + _short(letter.key) + _MANDATORY
    flags, parts = _ALWAYS, [_TYPE]
    if letter.headers:
        flags |= _HEADERS
        headers: Any = dict(letter.headers)
        parts.append(encode.field_table(headers))
    parts.append(_PERSISTENT)
    correlation = letter.correlation.encode()
    if 0 < len(correlation) <= _SHORT:
        flags |= _CORRELATION
        parts.append(bytes((len(correlation),)) + correlation)
    parts += (_short(letter.id), struct.pack(">Q", int(now)), _short(letter.kind), _APP)
    content = _CONTENT.pack(60, 0, len(letter.body), flags) + b"".join(parts)
    frames = [_frame(_METHOD, channel, method), _frame(_HEADER, channel, content)]
    most = frame_max - _FRAME.size - len(_END)
    frames += [_frame(_BODY, channel, letter.body[start : start + most]) for start in range(0, len(letter.body), most)]
    return b"".join(frames)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


def _short(text: str) -> bytes:
    content = text.encode()
    if len(content) > _SHORT:
        raise CrossdockError(
            Code.INVALID, f"{text[:30]}… has {len(content)} bytes; RabbitMQ takes keys and ids of up to {_SHORT} bytes"
        )
    return bytes((len(content),)) + content
