"""The properties of messages that came, as far as they are of use, and can be read.

RabbitMQ passes on whatever its peers write: text in Latin-1, times in the year 292 million, tables in tables in tables.
What cannot be read counts as missing.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from msgspec import Struct
from pamqp import decode

_FIXED: Final = struct.Struct(">HHQH")
"""What is before the properties: class, weight, size of the body, and the flags that say which there are."""
_MOST: Final = 16 * 1024
"""Bytes of headers that are read: those of a hostile peer take the library a time that grows with their square."""


class Properties(Struct, frozen=True, gc=False):
    """What a message says about itself beside its body; empty where it says nothing."""

    headers: Mapping[str, object] = {}
    correlation: str = ""
    reply_to: str = ""
    id: str = ""


_NONE: Final = Properties()

Size = Callable[[bytes, int], int]


def _text_size(content: bytes, place: int) -> int:
    return 1 + content[place]


def _table_size(content: bytes, place: int) -> int:
    return 4 + int.from_bytes(content[place : place + 4], "big")


def _octet_size(_content: bytes, _place: int) -> int:
    return 1


def _text(part: bytes) -> str:
    return part[1:].decode()


def _table(part: bytes) -> Mapping[str, object]:
    return cast("Any", decode.field_table(part)[1]) if len(part) <= _MOST else {}


# Those behind the message id are of no use here.
_PROPERTIES: Final[tuple[tuple[int, Size, str, Callable[[bytes], object]], ...]] = (
    (1 << 15, _text_size, "", _text),  # content_type
    (1 << 14, _text_size, "", _text),  # content_encoding
    (1 << 13, _table_size, "headers", _table),
    (1 << 12, _octet_size, "", _text),  # delivery_mode
    (1 << 11, _octet_size, "", _text),  # priority
    (1 << 10, _text_size, "correlation", _text),
    (1 << 9, _text_size, "reply_to", _text),
    (1 << 8, _text_size, "", _text),  # expiration
    (1 << 7, _text_size, "id", _text),
)


def read_properties(content: bytes) -> Properties:
    """Return the properties in the payload of a content header."""
    if len(content) <= _FIXED.size:
        return _NONE
    flags = _FIXED.unpack_from(content)[3]
    found: dict[str, Any] = {}
    place = _FIXED.size
    for flag, size, name, read in _PROPERTIES:
        if not flags & flag:
            continue
        if place >= len(content):
            break
        after = place + size(content, place)
        if name and (value := _readable(read, content[place:after])):
            found[name] = value
        place = after
    return Properties(**found)


def _readable(read: Callable[[bytes], object], part: bytes) -> object:
    try:
        return read(part)
    except (ValueError, LookupError, OSError, ArithmeticError, RecursionError, struct.error):
        return None
