"""Unpacking: from a file of any known format to a directory, of which nothing outside is touched."""

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from crossdock.runners.program import tree
from crossdock.runners.program.archives.policy import ArchiveLimits, Budget, Member, Refused
from crossdock.runners.program.archives.streams import Stream, decompressed, plain
from crossdock.runners.program.archives.tarred import read_tar
from crossdock.runners.program.archives.zipped import read_zip
from crossdock.runners.program.tree import Parts

_HEAD: Final = 8
_OTHERS: Final = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x9d": "compress"}


def unpack(file: BinaryIO, destination: int, limits: ArchiveLimits | None = None, *, replace: bool = False) -> int:
    """Unpack an archive; return the number of its members. It blocks: call it in a thread.

    The format is told by the content: zip, or tar, also compressed with gzip, bzip2, xz or lzma. Files get mode 0644,
    directories 0755. If it is refused, what was written until then is left for the caller to remove.

    Args:
        file: the archive.
        destination: a descriptor of the directory to write into.
        limits: how much it may be.
        replace: whether files that are there give way.

    Raises:
        Refused: whatever is wrong with it.
        OSError: the disk is full or does not work.
    """
    budget = Budget(limits or ArchiveLimits())
    size = os.fstat(file.fileno()).st_size
    if size > budget.limits.archive:
        raise Refused(f"it has more than {budget.limits.archive} bytes")
    try:
        return sum(
            _write(destination, budget.admit(member), member, _counted(content, budget), replace=replace)
            for member, content in _members(file, size, budget)
        )
    except (Refused, OSError):
        raise
    except Exception as error:  # parsers of the standard library leak what they please on crafted input
        raise Refused(f"it is damaged: {error}"[:200]) from error


def _members(file: BinaryIO, size: int, budget: Budget) -> Iterator[tuple[Member, Iterator[bytes]]]:
    head = file.read(_HEAD)
    file.seek(0)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise Refused(f"{name} archives are not read, only zip and tar")
    if head.startswith(b"PK"):
        return read_zip(file, size, budget)
    pieces = decompressed(file, head, budget) or plain(file)
    return read_tar(Stream(pieces, budget, size))


def _counted(content: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    for piece in content:
        budget.count(len(piece))
        yield piece


def _write(destination: int, parts: Parts, member: Member, content: Iterator[bytes], *, replace: bool) -> int:
    try:
        if member.directory:
            tree.make_directories(destination, parts)
            return 1
        tree.make_directories(destination, parts[:-1])
        with tree.create_file(destination, parts, replace=replace) as file:
            file.writelines(content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Refused(f"{member.name[:80]!a} is there already") from None
    return 1
