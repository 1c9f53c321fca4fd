"""Files below a directory that strangers may have filled.

Every step goes through a descriptor and follows no link, so a name leads nowhere else, whatever is done to the tree at the
same time. A path is a tuple of parts relative to a directory of ours.
"""

import os
import secrets
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

Parts = tuple[str, ...]

DEPTH: Final = 64
"""How many directories deep a job may go; what is below that is treated as if it were not there."""

_COPY: Final = 1 << 20
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(Struct, frozen=True):
    """A file or a directory; ``size`` is bytes, ``mode`` its permissions."""

    parts: Parts
    directory: bool
    size: int
    mode: int


def open_directory(path: Path) -> int:
    """Return a descriptor of a directory whose path nobody else controls."""
    return os.open(path, _DIRECTORY)


@contextmanager
def descend(root: int, parts: Sequence[str]) -> Generator[int, None, None]:
    """Give a descriptor of a directory below ``root``. Raises ``OSError`` if it is not there or a link is in the way."""
    directory = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


def make_directories(root: int, parts: Sequence[str], mode: int = 0o755, made: list[Parts] | None = None) -> None:
    """Make a directory with all above it; those that were not there are noted in ``made``. Raises ``OSError``."""
    made = [] if made is None else made
    directory = os.dup(root)
    try:
        for depth, part in enumerate(parts, 1):
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=directory)
                made.append(tuple(parts[:depth]))
            below = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
            if made and made[-1] == tuple(parts[:depth]):
                os.fchmod(directory, mode)
    finally:
        os.close(directory)


def create_file(root: int, parts: Sequence[str], mode: int = 0o644, *, replace: bool = False) -> BinaryIO:
    """Open a new file for writing.

    Raises:
        FileExistsError: something is there, unless it is a file to ``replace``.
        OSError: anything else.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with descend(root, parts[:-1]) as directory:
        if replace:
            with suppress(FileNotFoundError):
                os.unlink(parts[-1], dir_fd=directory)
        descriptor = os.open(parts[-1], flags, 0o600, dir_fd=directory)
    os.fchmod(descriptor, mode & 0o777)
    return os.fdopen(descriptor, "w+b")


def open_file(root: int, parts: Sequence[str], *, write: bool = False) -> BinaryIO:
    """Open a regular file. Raises ``OSError`` if it is anything else or not there."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with descend(root, parts[:-1]) as directory:
        descriptor = os.open(parts[-1] if parts else ".", flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{'/'.join(parts)} is not a regular file")
    return os.fdopen(descriptor, "r+b" if write else "rb")


def look(root: int, parts: Sequence[str]) -> Entry | None:
    """Return what is there under a name, None for nothing and for what is neither a file nor a directory."""
    try:
        with descend(root, parts[:-1]) as directory:
            found = os.stat(parts[-1] if parts else ".", dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return _entry(tuple(parts), found)


def leads_astray(root: int, parts: Sequence[str]) -> bool:
    """Tell whether there is anything but directories, and maybe a file at the end, on a path as far as it exists."""
    try:
        with descend(root, parts[:-1]) as directory:
            mode = os.stat(parts[-1] if parts else ".", dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not (stat.S_ISDIR(mode) or stat.S_ISREG(mode))


def children(root: int, parts: Sequence[str]) -> list[Entry]:
    """Return the files and directories in a directory, in order of name. Raises ``OSError``.

    What goes while it is looked at, as the temporary files of a cache that several jobs fill, is left out.
    """
    found: list[Entry | None] = []
    with descend(root, parts) as directory:
        for name in _names(directory):
            with suppress(FileNotFoundError):
                found.append(_entry((*parts, name), os.stat(name, dir_fd=directory, follow_symlinks=False)))
    return [entry for entry in found if entry is not None]


def walk(root: int, parts: Parts = ()) -> Iterator[Entry]:
    """Yield the files and directories below a directory, each directory before what is in it. Raises ``OSError``."""
    pending = [parts]
    while pending:
        for entry in children(root, pending.pop()):
            yield entry
            if entry.directory and len(entry.parts) < DEPTH:
                pending.append(entry.parts)


def copy(source: BinaryIO, target: BinaryIO, limit: int | None = None) -> None:
    """Copy at most ``limit`` bytes of a file to another."""
    left = limit
    while left is None or left > 0:
        piece = source.read(_COPY if left is None else min(_COPY, left))
        if not piece:
            return
        target.write(piece)
        left = None if left is None else left - len(piece)


def prune(root: int) -> None:
    """Remove links, devices, pipes and sockets, and directories that are too deep. Raises ``OSError``."""
    pending: list[Parts] = [()]
    while pending:
        parts = pending.pop()
        with descend(root, parts) as directory:
            for name in _names(directory):
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) and len(parts) < DEPTH:
                    _open_up(directory, name)
                    pending.append((*parts, name))
                elif not stat.S_ISREG(mode):
                    _remove(directory, name)


def remove(root: int, parts: Sequence[str]) -> None:
    """Remove a file, or a directory with all that is in it. What is not there is fine. Raises ``OSError``."""
    with suppress(FileNotFoundError), descend(root, parts[:-1]) as directory:
        _remove(directory, parts[-1])


def _remove(directory: int, name: str) -> None:
    """Remove a name, however deep the tree under it goes.

    A directory's directories are moved up beside it until none is left: neither calls nor descriptors pile up.
    """
    pending = [name]
    count = 0
    mark = f".removed-{secrets.token_hex(8)}-"
    while pending:
        here = pending.pop()
        if _unlink(directory, here):
            continue
        _open_up(directory, here)
        with descend(directory, (here,)) as inner:
            for below in _names(inner):
                if not _unlink(inner, below):
                    _open_up(inner, below)
                    os.rename(below, f"{mark}{count}", src_dir_fd=inner, dst_dir_fd=directory)
                    pending.append(f"{mark}{count}")
                    count += 1
        os.rmdir(here, dir_fd=directory)


def _unlink(directory: int, name: str) -> bool:
    """Remove what is no directory; tell whether it was none."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=directory)
    return True


def _open_up(directory: int, name: str) -> None:
    """Give ourselves access to a directory that a job may have closed; a worker that is root has it anyway."""
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o700 != 0o700:  # noqa: PLR2004 - rwx of the owner
            Path(f"/proc/self/fd/{descriptor}").chmod(mode | 0o700)
    finally:
        os.close(descriptor)


def _names(directory: int) -> list[str]:
    return sorted(os.listdir(directory))


def _entry(parts: Parts, found: os.stat_result) -> Entry | None:
    directory = stat.S_ISDIR(found.st_mode)
    if not directory and not stat.S_ISREG(found.st_mode):
        return None
    return Entry(parts, directory, found.st_size, stat.S_IMODE(found.st_mode))
