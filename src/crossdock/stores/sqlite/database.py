"""The file under the store: a lock, a connection that writes, two that read, and what happens when they fail."""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from crossdock.core.errors import Code, CrossdockError
from crossdock.stores.sqlite.faults import Health, translate
from crossdock.stores.sqlite.lock import FileLock
from crossdock.stores.sqlite.rows import Row
from crossdock.stores.sqlite.schema import migrate
from crossdock.stores.sqlite.writer import BUSY_SECONDS, Change, Writer

Synchronous = Literal["FULL", "NORMAL", "OFF"]
T = TypeVar("T")
Part = TypeVar("Part")

_PRAGMAS: Final = (
    "journal_mode = WAL",
    "wal_autocheckpoint = 4000",  # pages: the log stays about 16 MB, and a checkpoint is not too frequent
    "temp_store = MEMORY",
    "secure_delete = OFF",  # some distributions overwrite deleted bytes with zeros, at every update
)
_WRITER_CACHE: Final = 64 * 1024
_READER_CACHE: Final = 16 * 1024
"""KiB of pages kept in memory per connection."""


class Database:
    """One SQLite file in write-ahead mode. Reads see the last commit and never wait for one that is under way.

    Look-ups by key run in the event loop. Listings may have to pass over many rows to find a few, so they have a thread.

    Args:
        path: the file; its directory is made if needed.
        synchronous: what a commit waits for, as SQLite's pragma of that name means it.
    """

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self.path = path
        self._synchronous = synchronous
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._health = Health(path)
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._lister: sqlite3.Connection | None = None
        self._listing: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Lock the file, bring its schema up to date, and connect. Raises ``conflict`` if another process has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise CrossdockError(Code.UNAVAILABLE, f"{self.path} cannot be used: {error.strerror}") from error
        try:
            connection = self._connect(_WRITER_CACHE)
            self._writer = Writer(connection, self._health)
            migrate(connection, self.path)
            self._reader = self._connect(_READER_CACHE)
            self._lister = self._connect(_READER_CACHE)
        except sqlite3.Error as error:
            self.close()
            raise translate(error, self.path) from error
        except CrossdockError:
            self.close()
            raise
        self._listing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-listing")

    def close(self) -> None:
        """End the threads, close the connections (the last one empties the log) and release the lock."""
        if self._lister is not None:
            self._lister.interrupt()
        if self._listing is not None:
            self._listing.shutdown(cancel_futures=True)
        for part in (self._lister, self._reader, self._writer):
            if part is not None:
                part.close()
        self._listing = self._lister = self._reader = self._writer = None
        self._lock.release()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query, as of the last commit."""
        connection = self._usable(self._reader)
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._health.fault(error) from error

    async def survey(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        """Return the rows of several queries about one moment, read in a thread."""
        self._usable(self._lister)
        return await asyncio.get_running_loop().run_in_executor(self._listing, self._survey, statements)

    def _survey(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        connection = self._usable(self._lister)
        try:
            connection.execute("BEGIN")
            try:
                return [connection.execute(*statement).fetchall() for statement in statements]
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._health.fault(error) from error

    async def write(self, change: Change[T], *, size: int = 1, aside: bool = False) -> T:
        """Run ``change`` in a transaction: durable on return, without any effect if it raises.

        Args:
            change: given the connection.
            size: about how many changes it is.
            aside: run in the writer's thread, for work that may take long.
        """
        return await self._usable(self._writer).write(change, size, aside=aside)

    def _usable(self, part: Part | None) -> Part:
        self._health.check()
        if part is None:
            raise CrossdockError(Code.UNAVAILABLE, f"{self.path} is not open")
        return part

    def _connect(self, cache: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in (*_PRAGMAS, f"synchronous = {self._synchronous}", f"cache_size = -{cache}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection
