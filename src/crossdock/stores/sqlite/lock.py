"""One process per database: an advisory lock on a file beside it, which ends with its holder however that dies."""

import fcntl
import os
from pathlib import Path

from crossdock.core.errors import Code, CrossdockError


class FileLock:
    """An exclusive lock on ``path``, with the holder's process id written inside for people.

    The file stays when the lock is released: deleting it would let two processes lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            CrossdockError: ``conflict`` at once if somebody has it, with who that is.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise CrossdockError(
                Code.CONFLICT, f"{self._path.with_suffix('')} is in use by process {holder}; stop that one first"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Give the lock back. Doing so twice is harmless."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
