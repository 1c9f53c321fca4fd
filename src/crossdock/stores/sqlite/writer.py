"""The connection that writes, and where its transactions run: in the event loop, in a thread, or half here, half there."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter, thread_time
from typing import Final, TypeVar

from crossdock.stores.sqlite.faults import Health, StoreLocked
from crossdock.stores.sqlite.pace import Pace

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
"""Changes rows; it must neither begin nor end a transaction."""

BUSY_SECONDS: Final = 0.25
_LOCKED_SECONDS: Final = 30.0
"""How long to wait for a foreign program that locks the file: in the event loop, which stands still, and in the thread."""


class Writer:
    """Runs one transaction at a time.

    Args:
        connection: that writes, in autocommit mode; nobody else uses it.
        health: is told what goes wrong.
    """

    def __init__(self, connection: sqlite3.Connection, health: Health) -> None:
        self._connection = connection
        self._health = health
        self._writing = threading.Lock()
        self._pace = Pace()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        # What that does may wait for a transaction to end, so transactions have to end in another one.
        self._ending = ThreadPoolExecutor(1, thread_name_prefix="sqlite-ending")

    def close(self) -> None:
        """Let what is under way come to its end, and close the connection."""
        self._ending.shutdown()
        self._thread.shutdown()
        self._connection.close()

    async def write(self, change: Change[T], size: int, *, aside: bool) -> T:
        """Run ``change`` in a transaction: durable on return, without any effect if it raises."""
        if not aside and self._writing.acquire(blocking=False):
            with suppress(StoreLocked):  # the thread has more patience
                if self._pace.inline(size):
                    return self._transact_here(change)
                return await self._transact_halfway(change)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact_alone, change)

    def _transact_here(self, change: Change[T]) -> T:
        try:
            wall, processor = perf_counter(), thread_time()
            value = self._begin(change)
            self._end()
            self._pace.record(perf_counter() - wall - (thread_time() - processor))
            return value
        finally:
            self._writing.release()

    async def _transact_halfway(self, change: Change[T]) -> T:
        """Change rows here, which is the processor's work, and commit in a thread, which is the disk's."""
        try:
            value = self._begin(change)
        except BaseException:
            self._writing.release()
            raise
        # Whoever waits may be cancelled; what has begun comes to its end.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._ending, self._end_alone))
        return value

    def _end_alone(self) -> None:
        try:
            self._end()
        finally:
            self._writing.release()

    def _transact_alone(self, change: Change[T]) -> T:
        with self._writing:
            self._health.check()
            _be_patient(self._connection, _LOCKED_SECONDS)
            try:
                value = self._begin(change)
                self._end()
                return value
            finally:
                _be_patient(self._connection, BUSY_SECONDS)

    def _begin(self, change: Change[T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            return change(self._connection)
        except sqlite3.Error as error:
            self._undo()
            raise self._health.fault(error) from error
        except BaseException:
            self._undo()
            raise

    def _end(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise self._health.fault(error) from error

    def _undo(self) -> None:
        """Roll back, unless SQLite did so by itself, as it does after some errors."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._health.fault(error)


def _be_patient(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
