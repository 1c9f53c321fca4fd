"""The properties of messages that came, without those that the AMQP library could not read.

RabbitMQ passes on whatever its peers write: text in Latin-1, times in the year 292 million, tables in tables in tables.
The library gives up the whole connection over one of these, and would again whenever the message is delivered again.
"""

import struct
from collections.abc import Callable
from typing import Final

from pamqp import decode

_FIXED: Final = struct.Struct(">HHQH")
"""What is before the properties: class, weight, size of the body, and the flags that say which there are."""
_MOST: Final = 16 * 1024
"""Bytes of headers that are read: those of a hostile peer take the library a time that grows with their square."""

Size = Callable[[bytes, int], int]
Read = Callable[[bytes], object]


def _short(content: bytes, place: int) -> int:
    return 1 + content[place]


def _table(content: bytes, place: int) -> int:
    return 4 + int.from_bytes(content[place : place + 4], "big")


def _octet(_content: bytes, _place: int) -> int:
    return 1


def _time(_content: bytes, _place: int) -> int:
    return 8


_TEXT: Final[tuple[Size, Read]] = (_short, decode.short_str)
_PROPERTIES: Final[tuple[tuple[int, tuple[Size, Read]], ...]] = tuple(
    (1 << bit, how)
    for bit, how in (
        (15, _TEXT),  # content_type
        (14, _TEXT),  # content_encoding
        (13, (_table, decode.field_table)),  # headers
        (12, (_octet, decode.octet)),  # delivery_mode
        (11, (_octet, decode.octet)),  # priority
        (10, _TEXT),  # correlation_id
        (9, _TEXT),  # reply_to
        (8, _TEXT),  # expiration
        (7, _TEXT),  # message_id
        (6, (_time, decode.timestamp)),
        (5, _TEXT),  # type
        (4, _TEXT),  # user_id
        (3, _TEXT),  # app_id
        (2, _TEXT),  # cluster_id
    )
)


def readable(content: bytes) -> bytes:
    """Return the payload of a content header with those properties that can be read; it stays as long as it was."""
    if len(content) <= _FIXED.size:
        return content
    _, _, size, flags = _FIXED.unpack_from(content)
    kept, parts, place = 0, list[bytes](), _FIXED.size
    for flag, (length, read) in _PROPERTIES:
        if not flags & flag:
            continue
        if place >= len(content):
            break
        part = content[place : place + length(content, place)]
        place += len(part)
        if _can(read, part):
            kept |= flag
            parts.append(part)
    if kept == flags:
        return content
    return (_FIXED.pack(60, 0, size, kept) + b"".join(parts)).ljust(len(content), b"\0")


def _can(read: Read, part: bytes) -> bool:
    if len(part) > _MOST:
        return False
    try:
        read(part)
    except (ValueError, OverflowError, OSError, ArithmeticError, RecursionError):
        return False
    return True
