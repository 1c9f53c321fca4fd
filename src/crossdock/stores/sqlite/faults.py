"""What SQLite says when something goes wrong, in the words of the core."""

import sqlite3
from pathlib import Path
from typing import Final

from crossdock.core.errors import Code, CrossdockError, StoreBroken, StoreFull

# A write-ahead index that cannot grow is how a full disk shows when the log has just reached a new region of it.
_FULL: Final = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
_BROKEN: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")
_BUSY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED")
_CLOSED: Final = ("SQLITE_INTERRUPT", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")
_TAKEN: Final = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID")


class StoreLocked(CrossdockError):
    """Another program writes to the file, and did not end in time: nothing was written."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def translate(error: sqlite3.Error, path: Path) -> CrossdockError:
    """Return the error to raise for one of SQLite about the database ``path``."""
    name: str = getattr(error, "sqlite_errorname", None) or "an unnamed error"
    if name.startswith(_FULL):
        return StoreFull(f"the disk under {path} is full; nothing was written")
    if name.startswith(_BROKEN):
        return StoreBroken(f"{path} cannot be read or written any more: {error} [{name}]")
    if name.startswith(_BUSY):
        return StoreLocked(f"another program has locked {path}; nothing was written")
    if name.startswith(_CLOSED):
        return CrossdockError(Code.UNAVAILABLE, f"{path} cannot be used: {error}")
    if name.startswith(_TAKEN):
        return CrossdockError(Code.CONFLICT, "what was to be inserted is there already")
    return CrossdockError(Code.INTERNAL, f"SQLite refused a statement on {path}: {error} [{name}]")


class Health:
    """Whether a file can still be trusted: after some errors nothing about it is known any more.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken: StoreBroken | None = None

    def check(self) -> None:
        """Raise :class:`StoreBroken` if the file cannot be trusted."""
        if self._broken is not None:
            raise StoreBroken(self._broken.message)

    def fault(self, error: sqlite3.Error) -> CrossdockError:
        """Return what to raise for an error, and remember it if the file cannot be trusted from now on."""
        fault = translate(error, self._path)
        if isinstance(fault, StoreBroken):
            self._broken = fault
        return fault
