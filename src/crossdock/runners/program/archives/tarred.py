"""Reading tar: ustar, GNU long names and pax, as far as files and directories go (POSIX.1-2017, pax, "ustar Interchange").

The standard library's reader believes sizes in extended headers and has had quadratic parsing; this one knows less.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from crossdock.runners.program.archives.policy import Member, Refused
from crossdock.runners.program.archives.streams import Stream

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_EXTENDED: Final = 1 << 20
"""Bytes an extended header may have: a name, times, and the attributes that macOS keeps."""

_EXTENSIONS: Final = 4
"""Extended headers in a row that one member may have."""

_OCTAL: Final = re.compile(rb" *([0-7]{0,12})[ \0]*")
_RECORD: Final = re.compile(rb"([0-9]{1,8}) ")
_FILES: Final = (b"0", b"\0", b"7")
_DIRECTORY: Final = b"5"
_GLOBAL: Final = b"g"


class _Extensions(Struct):
    """What extended headers say of the next member."""

    name: str | None = None
    size: int | None = None


def read_tar(stream: Stream) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Yield the members with their content, which has to be read before the next is asked for.

    Raises:
        Refused: it is no tar, is cut off, or holds anything else than files and directories.
    """
    first = True
    while header := _header(stream, first=first):
        first = False
        extensions = _Extensions()
        count = 0
        while header[156:157] in (b"L", b"K", b"x", _GLOBAL):
            count += 1
            _extend(extensions, header[156:157], _extension(stream, _size(header)))
            header = _header(stream, first=True)
            if count > _EXTENSIONS:
                raise Refused("a member has too many extended headers")
        yield from _member(stream, header, extensions)
    stream.drain()


def _member(stream: Stream, header: bytes, extensions: _Extensions) -> Iterator[tuple[Member, Iterator[bytes]]]:
    name = _name(header) if extensions.name is None else extensions.name
    size = _size(header) if extensions.size is None else extensions.size
    kind = header[156:157]
    directory = kind == _DIRECTORY or (kind == b"\0" and name.endswith("/"))
    if not directory and kind not in _FILES:
        raise Refused(f"{name[:80]!a} is neither a file nor a directory")
    content = stream.content(size)
    if not (directory and name.strip("/") in ("", ".")) or name.startswith("/"):
        yield Member(name, directory), content
    for _ in content:
        pass
    stream.exactly(-size % _BLOCK)


def _header(stream: Stream, *, first: bool) -> bytes:
    """Return the next header, nothing at the end of the archive, which is a block of zeros or the end of the file."""
    start = stream.read(_BLOCK)
    if not start and not first:
        return b""
    block = start + stream.exactly(_BLOCK - len(start))
    if block == _ZEROS:
        return b""
    told = _number(block[148:156])
    if told != sum(block) - sum(block[148:156]) + 8 * 32 and told != _signed_sum(block):
        raise Refused("it is no tar, or damaged")
    return block


def _signed_sum(block: bytes) -> int:
    """Return the checksum as some old programs count it, with signed characters."""
    return sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])  # noqa: PLR2004


def _number(field: bytes) -> int:
    """Return a number of a header: octal digits, or GNU's binary form, which is marked by the highest bit."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise Refused("a header holds no number where there should be one")
    return int(found[1] or b"0", 8)


def _size(header: bytes) -> int:
    return _number(header[124:136])


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise Refused(f"{name[:80]!a} is no name in UTF-8") from None


def _extension(stream: Stream, size: int) -> bytes:
    if size > _EXTENDED:
        raise Refused("an extended header is too long")
    body = stream.exactly(size)
    stream.exactly(-size % _BLOCK)
    return body


def _extend(extensions: _Extensions, kind: bytes, body: bytes) -> None:
    if kind == b"L":
        extensions.name = _text(body.partition(b"\0")[0])
    if kind != b"x":
        return  # global headers say nothing that is wanted; what a long link name belongs to is refused
    for keyword, value in _records(body):
        if keyword == b"path":
            extensions.name = _text(value)
        elif keyword == b"size":
            if not value.isdigit() or len(value) > 12:  # noqa: PLR2004 - digits of a terabyte
                raise Refused("an extended header holds no size where there should be one")
            extensions.size = int(value)
        elif keyword.startswith(b"GNU.sparse"):
            raise Refused("it holds a sparse file")


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and value of the records, lines ``LENGTH KEYWORD=VALUE`` whose length counts all of that."""
    position = 0
    while position < len(body):
        found = _RECORD.match(body, position)
        end = position + int(found[1]) if found else 0
        if found is None or end <= found.end() or end > len(body) or body[end - 1 : end] != b"\n":
            raise Refused("an extended header is damaged")
        keyword, equals, value = body[found.end() : end - 1].partition(b"=")
        if not equals:
            raise Refused("an extended header is damaged")
        yield keyword, value
        position = end
