"""Files of exercises, kept between evaluations under the names that jobs fetch them by."""

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from crossdock.http.egress import equal
from crossdock.runners.program import tree
from crossdock.runners.program.archives.policy import Refused, name_parts
from crossdock.runners.program.endings import TaskFailed
from crossdock.runners.program.tree import Parts

_DEPTH: Final = 16
_SHA1: Final = re.compile("[0-9a-fA-F]{40}")
_EXERCISES: Final = ("", "/worker-files/exercise-file", "/exercises", "/tasks")
"""Where files of exercises are, below the URL of a known server: right there, or where servers of ReCodEx have them."""
_CHUNK: Final = 256 * 1024
_PART: Final = ".part-"
_LEFT_OVER: Final = 3600.0
"""Seconds after which a file that is still being written has been given up by whoever wrote it."""


class FileCache:
    """A directory of files, which other processes may use and clean at the same time.

    Files of the exercises of known servers lie at ``<directory>/<name>``; those of any other collector under a directory
    per collector, so that nobody can put a file of their own in the place of somebody else's.

    Args:
        directory: where they are.
        limit: bytes it is kept below, 0: no limit.
        known: URLs of known servers.
    """

    def __init__(self, directory: Path, limit: int, known: Sequence[str]) -> None:
        self._directory = directory.absolute()
        self._limit = limit
        self._known = tuple(f"{url.rstrip('/')}{path}" for url in known for path in _EXERCISES)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def place(self, collector: str, name: str) -> Parts:
        """Return the parts of the path of a file. Raises :class:`TaskFailed` if its name is not one of a file."""
        try:
            parts = name_parts(name, _DEPTH)
        except Refused as error:
            raise TaskFailed(f"fetch: {error}") from error
        if parts[0].startswith((_PART, "@")):
            raise TaskFailed(f"fetch: {name[:80]!r} is not a name of a file")
        if any(equal(collector, known) for known in self._known):
            return parts
        return (f"@{hashlib.sha256(collector.encode('utf-8', 'replace')).hexdigest()[:32]}", *parts)

    def open(self, place: Parts) -> BinaryIO | None:
        """Open a file that is there, which makes it young; None if it is not."""
        with self._root() as root:
            try:
                file = tree.open_file(root, place)
            except OSError:
                return None
        os.utime(file.fileno())
        return file

    def begin(self) -> tuple[str, BinaryIO]:
        """Open a file to be kept later; return its provisional name too. Raises ``OSError``."""
        name = f"{_PART}{secrets.token_hex(8)}"
        with self._root() as root:
            return name, tree.create_file(root, (name,), 0o600)

    def keep(self, provisional: str, place: Parts) -> None:
        """Give a file that is complete its name, all at once.

        Raises:
            TaskFailed: the name is a SHA-1, and not that of the content.
            OSError: it cannot be kept.
        """
        with self._root() as root:
            if _SHA1.fullmatch(place[-1]) and (found := _sha1(root, provisional)) != place[-1].lower():
                raise TaskFailed(f"fetch: the server sent something else for {place[-1]}: its SHA-1 is {found}")
            tree.make_directories(root, place[:-1], 0o700)
            with tree.descend(root, place[:-1]) as above:
                os.rename(provisional, place[-1], src_dir_fd=root, dst_dir_fd=above)

    def drop(self, provisional: str) -> None:
        """Remove a file that is not to be kept; it may be gone."""
        with self._root() as root:
            tree.remove(root, (provisional,))

    def trim(self) -> None:
        """Remove the files that were not used for longest, until the rest is below the limit, and what was given up."""
        with self._root() as root:
            files: list[tuple[float, int, Parts]] = []
            for entry in tree.walk(root):
                if entry.directory:
                    continue
                with contextlib.suppress(OSError), tree.open_file(root, entry.parts) as file:
                    files.append((os.fstat(file.fileno()).st_mtime, entry.size, entry.parts))
            total = sum(size for _, size, _ in files)
            for used, size, parts in sorted(files):
                unfinished = parts[0].startswith(_PART)
                if time.time() - used > _LEFT_OVER if unfinished else self._limit and total > self._limit:
                    tree.remove(root, parts)
                    total -= size

    @contextlib.contextmanager
    def _root(self) -> Generator[int, None, None]:
        root = tree.open_directory(self._directory)
        try:
            yield root
        finally:
            os.close(root)


def _sha1(root: int, name: str) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # what ReCodEx names files by
    with tree.open_file(root, (name,)) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
