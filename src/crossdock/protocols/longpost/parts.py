r"""Results as ASCII text, and where to cut a long one into parts.

A result at rest is UTF-8. On the wire it is ASCII: every other character becomes one or two ``\uXXXX`` escapes, which in
JSON text can only stand inside strings. A part is a range of bytes of the text at rest, cut between characters and chosen
so that it is no longer than ``chunk`` characters once escaped; nothing is stored a second time, and a part is read and
escaped alone.
"""

import json
import re
from bisect import bisect_right
from typing import Final

_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")
_NOT_ASCII: Final = bytes(range(0x80, 0x100))
_NOT_SHORT: Final = bytes(range(0xC0)) + bytes(range(0xF0, 0x100))
_NOT_LONG: Final = bytes(range(0xF0))

_DIVIDED: Final = 3

WIDEST: Final = 12
"""Characters that one character of a result takes at most: a surrogate pair, written as two escapes."""


def ascii_text(document: bytes) -> str:
    """Return JSON text in ASCII."""
    if document.isascii():
        return document.decode("ascii")
    return _FOREIGN.sub(lambda found: json.dumps(found[0])[1:-1], document.decode())


def width(document: bytes) -> int:
    """Return how many characters a piece of UTF-8 takes in ASCII; the last bytes of a divided character count nothing."""
    if document.isascii():
        return len(document)
    short = len(document.translate(None, _NOT_SHORT))
    long = len(document.translate(None, _NOT_LONG))
    return len(document.translate(None, _NOT_ASCII)) + WIDEST // 2 * short + WIDEST * long


class Cutter:
    """Finds the parts of a text that comes in blocks, without keeping it.

    Args:
        chunk: characters of a part at most, not less than ``WIDEST``.
    """

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._start = 0
        self._position = 0
        self._room = chunk
        self._ranges: list[tuple[int, int]] = []

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the text."""
        taken = 0
        while True:
            # Apart from a divided character's last bytes a byte takes a character or more: a full window never fits.
            window = block[taken : taken + self._room + _DIVIDED + 1]
            needed = width(window)
            if needed <= self._room:
                break
            fitting = _fitting(window, self._room)
            taken += fitting
            self._position += fitting
            self._cut()
        self._position += len(window)
        self._room -= needed

    def ranges(self) -> list[tuple[int, int]]:
        """Return the parts as ranges of bytes, in order; call it once, after the last block."""
        if self._position > self._start or not self._ranges:
            self._cut()
        return self._ranges

    def _cut(self) -> None:
        self._ranges.append((self._start, self._position))
        self._start = self._position
        self._room = self._chunk


def _fitting(window: bytes, room: int) -> int:
    """Return how many bytes of a window that is too wide fit into ``room`` characters, whole characters only."""
    if window.isascii():
        return room
    return bisect_right(range(len(window)), room, key=lambda end: width(window[:end])) - 1
