"""The file under the store: a lock, a connection that writes, two that read, and what happens when they fail."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Final, Literal, TypeVar

from crossdock.core.errors import Code, CrossdockError, StoreBroken
from crossdock.stores.sqlite.faults import StoreLocked, translate
from crossdock.stores.sqlite.lock import FileLock
from crossdock.stores.sqlite.pace import Pace
from crossdock.stores.sqlite.rows import Row
from crossdock.stores.sqlite.schema import migrate

Synchronous = Literal["FULL", "NORMAL", "OFF"]
T = TypeVar("T")

_BUSY_SECONDS: Final = 0.25
_LOCKED_SECONDS: Final = 30.0
"""How long to wait for a foreign program that locks the file: in the event loop, which stands still, and in the thread."""

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
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._lister: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._listing: ThreadPoolExecutor | None = None
        self._writing = threading.Lock()
        self._pace = Pace()
        self._broken: StoreBroken | None = None

    def open(self) -> None:
        """Lock the file, bring its schema up to date, and connect. Raises ``conflict`` if another process has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise CrossdockError(Code.UNAVAILABLE, f"{self.path} cannot be used: {error.strerror}") from error
        try:
            self._writer = self._connect(_WRITER_CACHE)
            migrate(self._writer, self.path)
            self._reader = self._connect(_READER_CACHE)
            self._lister = self._connect(_READER_CACHE)
        except sqlite3.Error as error:
            self.close()
            raise translate(error, self.path) from error
        except CrossdockError:
            self.close()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._listing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-listing")

    def close(self) -> None:
        """End the threads, close the connections (the last one empties the log) and release the lock."""
        if self._lister is not None:
            self._lister.interrupt()
        for thread in (self._listing, self._thread):
            if thread is not None:
                thread.shutdown(cancel_futures=thread is self._listing)
        for connection in (self._lister, self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._listing = self._thread = self._lister = self._reader = self._writer = None
        self._lock.release()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query, as of the last commit."""
        connection = self._usable(self._reader)
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from error

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
                self._undo(connection)
        except sqlite3.Error as error:
            raise self._fault(error) from error

    async def write(self, change: Callable[[sqlite3.Connection], T], *, aside: bool = False) -> T:
        """Run ``change`` in a transaction: durable on return, without any effect if it raises.

        Args:
            change: given the connection; it must neither begin nor end a transaction.
            aside: run in the writer's thread, for work that may take long.
        """
        self._usable(self._writer)
        if not aside and self._pace.inline() and self._writing.acquire(blocking=False):
            with suppress(StoreLocked):  # the thread has more patience
                return self._transact_here(change)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact_alone, change)

    def _transact_here(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            wall, processor = perf_counter(), thread_time()
            value = self._transact(change)
            self._pace.record(perf_counter() - wall - (thread_time() - processor))
            return value
        finally:
            self._writing.release()

    def _transact_alone(self, change: Callable[[sqlite3.Connection], T]) -> T:
        with self._writing:
            connection = self._usable(self._writer)
            _be_patient(connection, _LOCKED_SECONDS)
            try:
                return self._transact(change)
            finally:
                _be_patient(connection, _BUSY_SECONDS)

    def _transact(self, change: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._usable(self._writer)
        try:
            connection.execute("BEGIN IMMEDIATE")
            value = change(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(connection)
            raise self._fault(error) from error
        except BaseException:
            self._undo(connection)
            raise
        return value

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Roll back, unless SQLite did so by itself, as it does after some errors."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._fault(error)

    def _fault(self, error: sqlite3.Error) -> CrossdockError:
        """Return what to raise, and remember it if the file cannot be trusted from now on."""
        fault = translate(error, self.path)
        if isinstance(fault, StoreBroken):
            self._broken = fault
        return fault

    def _usable(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if self._broken is not None:
            raise StoreBroken(self._broken.message)
        if connection is None:
            raise CrossdockError(Code.UNAVAILABLE, f"{self.path} is not open")
        return connection

    def _connect(self, cache: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in (*_PRAGMAS, f"synchronous = {self._synchronous}", f"cache_size = -{cache}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def _be_patient(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
