"""The wire between a parent and its children: frames of a small JSON head and an opaque body.

A frame is two lengths, the head (one message below, as a JSON array) and the body: payloads, results and pieces of
artifacts, which neither side parses on the way. Pure functions of bytes; nothing here reads or writes.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.jobs import OutcomeKind, Progress

_LENGTHS: Final = struct.Struct("!IQ")
_HEAD_LIMIT: Final = 16 * 1024 * 1024


class Run(Struct, frozen=True, tag="run", array_like=True):
    """Parent: run an attempt, or the members of a chunk in turn.

    The body is the payload, the inputs and, for members, a JSON array of their parameters; ``sizes`` are the bytes of
    each, None for an input that has no result. ``memory`` limits bytes of data, ``number`` tells a child's runs apart.
    """

    number: int
    kind: str
    job: str
    attempt: int
    sizes: tuple[int | None, ...]
    memory: int | None = None
    indexes: tuple[int, ...] | None = None


class Cancel(Struct, frozen=True, tag="cancel", array_like=True):
    """Parent: run ``number`` should stop."""

    number: int


class Stored(Struct, frozen=True, tag="stored", array_like=True):
    """Parent: the artifact is at rest (its digest and size), or could not be stored (``code`` and ``message``)."""

    digest: str
    size: int
    code: str = ""
    message: str = ""


class Ready(Struct, frozen=True, tag="ready", array_like=True):
    """Child: the app is loaded."""


class Broken(Struct, frozen=True, tag="broken", array_like=True):
    """Child: the app cannot be loaded."""

    message: str


class Told(Struct, frozen=True, tag="told", array_like=True):
    """Child: progress, or a line for the job's log."""

    progress: Progress | None = None
    log: str | None = None


class Piece(Struct, frozen=True, tag="piece", array_like=True):
    """Child: a piece of an artifact in the body; a ``last`` one ends it."""

    media_type: str
    last: bool = False


class Ended(Struct, frozen=True, tag="ended", array_like=True):
    """Child: a run (``index`` None) or one member of it is over; the body is the result."""

    kind: OutcomeKind
    index: int | None = None
    code: str = ""
    message: str = ""
    retry_after: float | None = None


FromParent = Run | Cancel | Stored
FromChild = Ready | Broken | Told | Piece | Ended

from_parent: Final = msgspec.json.Decoder(FromParent)
from_child: Final = msgspec.json.Decoder(FromChild)
_encode: Final = msgspec.json.Encoder().encode


def head(message: FromParent | FromChild, body_size: int) -> bytes:
    """Return everything of a frame but its body."""
    text = _encode(message)
    return _LENGTHS.pack(len(text), body_size) + text


def split(body: bytes, sizes: Sequence[int | None]) -> tuple[list[bytes | None], bytes]:
    """Cut a body into parts of the given sizes and what is left."""
    parts: list[bytes | None] = []
    start = 0
    for size in sizes:
        parts.append(None if size is None else body[start : start + size])
        start += size or 0
    return parts, body[start:]


class Assembler:
    """Puts frames together from whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Add bytes; return the head and body of each frame that is now complete.

        Raises:
            ValueError: if these are no frames; nothing more can be read from where they came from.
        """
        buffer = self._buffer
        buffer += data
        frames: list[tuple[bytes, bytes]] = []
        start = 0
        with memoryview(buffer) as view:
            while (rest := start + _LENGTHS.size) <= len(buffer):
                head_size, body_size = _LENGTHS.unpack_from(buffer, start)
                if head_size > _HEAD_LIMIT:
                    raise ValueError(f"a head of {head_size} bytes: this is no frame")
                body = rest + head_size
                end = body + body_size
                if end > len(buffer):
                    break
                frames.append((bytes(view[rest:body]), bytes(view[body:end])))
                start = end
        del buffer[:start]
        return frames
