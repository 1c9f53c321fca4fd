"""Reading zip (PKWARE APPNOTE 6.3): stored and deflated members, named by the central directory.

Every member has its own bytes of the file: the trick of thousands of members that share some is refused, and so are
disagreements between a member's two headers, which different programs would settle differently.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from msgspec import Struct

from crossdock.runners.program.archives.policy import CHUNK, Budget, Member, Refused
from crossdock.runners.program.archives.streams import Deflate, decode_one, plain

_END: Final = struct.Struct("<4s4H2LH")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT: Final = 0xFFFF
_ENTRY: Final = 4096
"""Bytes of the central directory that a member may take, with its name, extra fields and comment."""

_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_STORED, _DEFLATED = 0, 8
_WHOLE16, _WHOLE32 = 0xFFFF, 0xFFFFFFFF


class _Entry(Struct, frozen=True):
    name: bytes
    flags: int
    method: int
    checksum: int
    compressed: int
    size: int
    mode: int
    offset: int


def read_zip(file: BinaryIO, size: int, budget: Budget) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Yield the members with their content, which has to be read before the next is asked for.

    Raises:
        Refused: it is no zip, is damaged, or holds anything else than plain files and directories.
    """
    directory, entries = _directory(file, size, budget)
    _check_overlaps(entries, directory)
    for entry in entries:
        name = _name(entry)
        if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused(f"{name[:80]!a} is neither a file nor a directory")
        if entry.flags & _ENCRYPTED:
            raise Refused("it is encrypted")
        if entry.method not in (_STORED, _DEFLATED):
            raise Refused(f"it is compressed in a way that is not known here (method {entry.method})")
        isdir = name.endswith("/") or stat.S_ISDIR(entry.mode)
        content = _content(file, entry, budget)
        yield Member(name, isdir), content
        for _ in content:
            pass


def _directory(file: BinaryIO, size: int, budget: Budget) -> tuple[int, list[_Entry]]:
    """Return where the central directory begins, and its entries, whose number is judged before they are read."""
    tail_at = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_at)
    tail = file.read(size - tail_at)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise Refused("it is no zip, or cut off")
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail) or disk or first_disk or here != count:
        raise Refused("it is no zip, or only a part of one")
    if count == _WHOLE16 or _WHOLE32 in (length, offset):
        raise Refused("zip64 archives are not read")
    if count > budget.limits.members:
        raise Refused(f"it has more than {budget.limits.members} members")
    if length > budget.limits.members * _ENTRY or offset + length != tail_at + at:
        raise Refused("it is no zip, or damaged")
    file.seek(offset)
    return offset, list(_entries(file.read(length), count))


def _entries(directory: bytes, count: int) -> Iterator[_Entry]:
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(directory):
            raise Refused("its directory is damaged")
        fields = _CENTRAL.unpack_from(directory, position)
        signature, _, _, flags, method, _, _, checksum, compressed, size, name, extra, comment, _, _, mode, offset = fields
        start = position + _CENTRAL.size
        position = start + name + extra + comment
        if signature != b"PK\1\2" or position > len(directory):
            raise Refused("its directory is damaged")
        if _WHOLE32 in (compressed, size, offset):
            raise Refused("zip64 archives are not read")
        yield _Entry(directory[start : start + name], flags, method, checksum, compressed, size, mode >> 16, offset)
    if position != len(directory):
        raise Refused("its directory is damaged")


def _check_overlaps(entries: list[_Entry], directory: int) -> None:
    """Make sure that no two members use the same bytes."""
    spans = sorted((entry.offset, entry.offset + _LOCAL.size + len(entry.name) + entry.compressed) for entry in entries)
    for (_, end), (start, _) in zip(spans, [*spans[1:], (directory, directory)], strict=True):
        if end > start:
            raise Refused("its members overlap")


def _name(entry: _Entry) -> str:
    """Return the name: UTF-8, marked or not, or else the character set of the first IBM PC, as APPNOTE has it."""
    try:
        return entry.name.decode()
    except UnicodeDecodeError:
        if entry.flags & _UTF8:
            raise Refused(f"{entry.name[:80]!a} is no name in UTF-8") from None
        return entry.name.decode("cp437")


class _Part:
    """A range of a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        file.seek(start)
        self._file = file
        self._left = size

    def read(self, size: int) -> bytes:
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece


def _content(file: BinaryIO, entry: _Entry, budget: Budget) -> Iterator[bytes]:
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise Refused("it ends too early")
    signature, _, _, method, _, _, _, _, _, name, extra = _LOCAL.unpack(header)
    if signature != b"PK\3\4" or method != entry.method or file.read(name) != entry.name:
        raise Refused("the headers of a member contradict each other")
    part = _Part(file, entry.offset + _LOCAL.size + name + extra, entry.compressed)
    pieces = plain(part) if entry.method == _STORED else decode_one(part, Deflate(-15))
    size = checksum = 0
    for piece in pieces:
        size += len(piece)
        budget.check_ratio(size, entry.compressed)
        if size > entry.size:
            raise Refused("a member is larger than the archive says")
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if size != entry.size or checksum != entry.checksum or part.read(CHUNK):
        raise Refused("a member is damaged")
