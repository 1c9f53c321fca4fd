"""Artifacts as files of a local directory."""

import os
import time
from pathlib import Path

from obstore.store import LocalStore

from crossdock.artifacts.objects import INCOMING, KEEP, ObjectArtifacts
from crossdock.core.errors import Code, CrossdockError


class FileSettler:
    """Calls fsync where obstore does not: its local store renames atomically, but leaves the rest to the page cache."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def content(self, path: str) -> None:
        """Return once the bytes of the file are on disk."""
        _sync(self._root / path)

    def name(self, path: str) -> None:
        """Return once every directory between the root and the file is on disk, innermost first."""
        for directory in (self._root / path).relative_to(self._root).parents:
            _sync(self._root / directory)


def file_artifacts(root: Path, *, keep: float = KEEP) -> ObjectArtifacts:
    """Return artifacts in the directory ``root``, which is made if needed; ``keep`` is in seconds, see the class.

    What a killed process left half-written is removed here once it is older than ``keep``, so that a second process that
    is about to be refused its store does no harm to the first.

    Raises:
        CrossdockError: ``unavailable`` if the directory cannot be made or written.
    """
    try:
        _prepare(root, keep)
    except OSError as error:
        raise CrossdockError(Code.UNAVAILABLE, f"the directory of artifacts cannot be used: {error}") from error
    return ObjectArtifacts(LocalStore(prefix=root), FileSettler(root), keep=keep)


def _prepare(root: Path, keep: float) -> None:
    incoming = root / INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    _sync(root)
    _sync(root.parent)
    oldest = time.time() - keep
    for leftover in incoming.iterdir():
        if leftover.stat().st_mtime <= oldest:
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
