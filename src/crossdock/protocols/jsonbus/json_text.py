"""JSON text as text: what is directly in it, how deep it is, lists that PHP made objects of, one form for equal values.

Numbers stay as they are written.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

_STRING: Final = rb'"(?:[^"\\]|\\.)*+"'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_PIECES: Final = re.compile(_STRING + rb'|[\[\]{},:]|[^"\[\]{},:]++', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_FIRST: Final = b'"0"'

Members = dict[str, Raw]

read_members: Final[Callable[[bytes | Raw], Members]] = msgspec.json.Decoder(Members).decode
"""Returns the members of an object. Raises ``msgspec.DecodeError`` for anything else."""
_string: Final = msgspec.json.Decoder(str)
_integer: Final = msgspec.json.Decoder(Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)])


def string_in(text: bytes | Raw | None) -> str | None:
    """Return the string that a sound JSON text is, None if it is none."""
    return None if text is None or bytes(text)[:1] != b'"' else _string.decode(text)


def integer_in(text: bytes | Raw | None) -> int | None:
    """Return the integer that a sound JSON text is, None if it is none, or one that 64 bits do not hold: AMQP has none."""
    try:
        return None if text is None else _integer.decode(text)
    except msgspec.DecodeError:
        return None


def too_deep(text: bytes, levels: int) -> bool:
    """Tell whether lists and objects stand in each other more than ``levels`` deep. The text must be sound JSON."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    # One signed byte a bracket, summed up without leaving C: a hostile text of 10 MB takes a fraction of a second.
    steps = _STRINGS.sub(b"", text).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b"))) > levels


def listed(text: bytes) -> bytes:
    """Return JSON text in which every object with the names "0", "1", "2" … in this order is a list.

    This undoes what PHP's ``JSON_FORCE_OBJECT`` does. ``{}`` stays, since nobody can tell whether it was a list. The text
    must be sound JSON; everything else in it stays, byte for byte.
    """
    if _FIRST not in text:
        return text
    pieces: list[bytes] = _PIECES.findall(text)
    stack: list[_Open] = []
    for position, piece in enumerate(pieces):
        if piece in (b"{", b"["):
            stack.append(_Open(position, named=piece == b"{"))
        elif piece in (b"}", b"]"):
            stack.pop().close(pieces, position)
        elif stack:
            stack[-1].note(piece, position)
    return b"".join(pieces)


class _Open(Struct):
    """A list or object whose end has not come yet. ``numbered`` tells whether its names so far are those of a list."""

    start: int
    named: bool
    numbered: bool = True
    members: int = 0
    at_name: bool = True
    names: list[int] = []
    """Where its names and colons stand."""

    def note(self, piece: bytes, position: int) -> None:
        """Take notice of a piece that stands directly in it."""
        if piece == b",":
            self.at_name = True
        elif piece == b":":
            self.names.append(position)
        elif self.at_name and piece[:1] == b'"':
            self.at_name = False
            self.numbered = self.numbered and piece == b'"%d"' % self.members
            self.members += 1
            self.names.append(position)

    def close(self, pieces: list[bytes], position: int) -> None:
        """Make it a list if it is an object of that form; it ends at ``position``."""
        if self.named and self.numbered and self.members:
            pieces[self.start], pieces[position] = b"[", b"]"
            for name in self.names:
                pieces[name] = b""


def canonical(text: bytes) -> bytes:
    """Return one text for all texts of the same value: whitespace, escapes and the order of members do not show.

    Numbers are told apart by how they are written: 1.0 is not 1. A text that cannot be taken apart, such as an integer with
    more than 4300 digits, stays as it is.
    """
    try:
        return _canonical.encode(_values.decode(text))
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return text


_values: Final = msgspec.json.Decoder(float_hook=lambda digits: Raw(digits.encode()))
_canonical: Final = msgspec.json.Encoder(order="deterministic")
