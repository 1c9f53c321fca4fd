"""Compressed streams, read a piece at a time: neither output nor memory is taken on trust."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from crossdock.runners.program.archives.policy import CHUNK, Budget, Refused

_STREAMS: Final = 1000
"""Compressed streams that may follow one another in a file; people have one, and each costs a start."""

_HEADERS: Final = 2048
"""Bytes of headers and padding that a member may cost in a tar."""


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


class Decoder(Protocol):
    """A decompressor that gives out no more than it is asked for."""

    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to give out without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was found behind the end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take input, give out at most ``max_length`` bytes."""
        ...


class Deflate:
    """zlib in the manner of the other decompressors. ``window`` as in zlib: 31 for gzip, -15 for bare deflate."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)
        self._rest = b""

    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended."""
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to give out without more input."""
        return not self._rest

    @property
    def unused_data(self) -> bytes:
        """What was found behind the end."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take input, give out at most ``max_length`` bytes."""
        piece = self._inner.decompress(self._rest + data, max_length)
        self._rest = self._inner.unconsumed_tail
        return piece


def decode_one(source: Source, decoder: Decoder, data: bytes = b"") -> Iterator[bytes]:
    """Yield what one compressed stream holds. ``data`` is what was read of it already."""
    while not decoder.eof:
        if not data and decoder.needs_input:
            data = source.read(CHUNK)
        ended = not data and decoder.needs_input
        piece = _decompress(decoder, data)
        data = b""
        if piece:
            yield piece
        elif ended and not decoder.eof:
            raise Refused("it ends too early")


def _decompress(decoder: Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, CHUNK)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:  # bz2 says OSError
        raise Refused(f"its compressed data are damaged, or need too much memory: {error}") from error


def decode(source: Source, start: Callable[[], Decoder]) -> Iterator[bytes]:
    """Yield what a file of one or more compressed streams holds; zeros may follow them."""
    data = b""
    for _ in range(_STREAMS):
        decoder = start()
        yield from decode_one(source, decoder, data)
        data = decoder.unused_data.lstrip(b"\0")
        while not data:
            more = source.read(CHUNK)
            if not more:
                return
            data = more.lstrip(b"\0")
    raise Refused(f"it consists of more than {_STREAMS} compressed streams")


def plain(source: Source) -> Iterator[bytes]:
    """Yield the bytes as they are."""
    while piece := source.read(CHUNK):
        yield piece


def decompressed(source: Source, head: bytes, budget: Budget) -> Iterator[bytes] | None:
    """Return the content of a compressed file that begins with ``head``; None if it is not compressed."""
    memory = budget.limits.decoder
    if head.startswith(b"\x1f\x8b"):
        return decode(source, lambda: Deflate(31))
    if head.startswith(b"BZh"):
        return decode(source, bz2.BZ2Decompressor)
    if head.startswith(b"\xfd7zXZ\x00"):
        return decode(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory))
    if head.startswith(b"]\x00\x00"):
        return decode(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=memory))
    return None


class Stream:
    """The content of a tar as a stream of bytes.

    Args:
        pieces: what it consists of.
        budget: bounds it, headers included.
        compressed: the bytes it is made of.
    """

    def __init__(self, pieces: Iterator[bytes], budget: Budget, compressed: int) -> None:
        self._pieces = pieces
        self._budget = budget
        self._compressed = compressed
        self._most = budget.limits.total + budget.limits.members * _HEADERS
        self._given = 0
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if not self._held:
            self._held = next(self._pieces, b"")
            self._given += len(self._held)
            if self._given > self._most:
                raise Refused("it holds too much")
            self._budget.check_ratio(self._given, self._compressed)
        piece, self._held = self._held[:size], self._held[size:]
        return piece

    def exactly(self, size: int) -> bytes:
        """Return ``size`` bytes, which have to be few."""
        pieces: list[bytes] = []
        while size:
            piece = self.read(size)
            if not piece:
                raise Refused("it ends too early")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def content(self, size: int) -> Iterator[bytes]:
        """Yield ``size`` bytes in pieces."""
        while size:
            piece = self.read(min(size, CHUNK))
            if not piece:
                raise Refused("it ends too early")
            size -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read to the end, so that checksums behind the content are compared."""
        while self.read(CHUNK):
            pass
