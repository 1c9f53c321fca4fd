"""What lies in a directory that a hostile program may have filled, counted without following or trusting anything in it."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

DEEPEST: Final = 100
"""Directories within directories beyond this count as too many: tools that people remove them with give up as well."""
_BLOCK: Final = 512
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Uncountable(Exception):
    """Not all can be counted, which is as bad as too much of it."""


class TooDeep(Uncountable):
    """Directories are nested too deeply."""


class Hidden(Uncountable):
    """A directory keeps us out."""


class Used(NamedTuple):
    """Bytes and files of a directory."""

    bytes: int
    inodes: int


def used(directory: Path, enough: Callable[[Used], bool]) -> Used:
    """Count what is below ``directory``, until it is ``enough`` to know.

    Raises:
        TooDeep: directories are nested too deeply.
        Hidden: a directory keeps us out.
    """
    total = Used(0, 0)
    for _, _, found in _walk(directory):
        total = Used(total.bytes + found.st_blocks * _BLOCK, total.inodes + 1)
        if enough(total):
            break
    return total


def give(directory: Path, owner: int) -> None:
    """Give ``directory`` and what is below to a user.

    Files with other names elsewhere are left as they are: somebody else's may be among them.
    """
    with suppress(Uncountable):
        for folder, name, found in _walk(directory):
            if found.st_uid != owner and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
    os.chown(directory, owner, owner)


def _walk(directory: Path) -> Iterator[tuple[int, str, os.stat_result]]:
    """Yield every entry below: its open directory, its name there, and what it is."""
    try:
        top = os.open(directory, _OPEN)
    except PermissionError:
        directory.chmod(0o700)
        top = os.open(directory, _OPEN)
    with suppress(FileNotFoundError):
        yield from _entries(top, 1)


def _entries(folder: int, depth: int) -> Iterator[tuple[int, str, os.stat_result]]:
    if depth > DEEPEST:
        os.close(folder)
        raise TooDeep
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = _look(folder, entry.name)
                if found is None:
                    continue
                yield folder, entry.name, found
                if stat.S_ISDIR(found.st_mode) and (below := _enter(folder, entry.name)) is not None:
                    yield from _entries(below, depth + 1)
    finally:
        os.close(folder)


def _look(folder: int, name: str) -> os.stat_result | None:
    """Return what is there, None if it has gone. A directory that only lists its names is opened up for us."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:
        with suppress(FileNotFoundError):
            try:
                os.fchmod(folder, 0o700)
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
            except PermissionError as error:
                raise Hidden from error
        return None


def _enter(folder: int, name: str) -> int | None:
    try:
        return os.open(name, _OPEN, dir_fd=folder)
    except PermissionError:
        return _unlocked(folder, name)
    except OSError:
        return None  # gone, or no directory any more


def _unlocked(folder: int, name: str) -> int | None:
    """Open a directory that was hidden by taking its permissions away."""
    try:
        found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            Path(f"/proc/self/fd/{found}").chmod(0o700)
            return os.open(name, _OPEN, dir_fd=folder)
        finally:
            os.close(found)
    except PermissionError as error:
        raise Hidden from error
    except OSError:
        return None  # gone, or no directory any more
