"""The embedded store: what a single machine needs, in one file."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from json import dumps
from pathlib import Path
from sqlite3 import Connection
from typing import get_args

from crossdock.core.changes import ArrayImage, Block, Boot, Group, Pending
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job, Tally
from crossdock.core.requests import Entry, Notification, Page, Query, Record
from crossdock.stores.sqlite import parts, rows
from crossdock.stores.sqlite.database import Database, Synchronous
from crossdock.stores.sqlite.queries import QUERIES
from crossdock.stores.sqlite.searching import statements
from crossdock.stores.sqlite.sweeping import sweep
from crossdock.stores.sqlite.writing import write


class SqliteStore:
    """A :class:`~crossdock.core.ports.Store` in one SQLite file.

    Args:
        path: the database; ``path-wal`` and ``path-shm`` belong to it, ``path.lock`` names the process that has it open.
        synchronous: ``FULL``: what was committed survives a power cut. ``NORMAL``: it survives a kill of the process, a
            power cut may lose the newest commits. ``OFF``: a power cut may also damage the file. As commits are grouped,
            the weaker ones gain little.
        wall: the seconds since 1970, for the duration of jobs that still run.
    """

    def __init__(self, path: Path, synchronous: Synchronous = "FULL", wall: Callable[[], float] = time.time) -> None:
        if synchronous not in get_args(Synchronous):
            raise CrossdockError(Code.INVALID, f"synchronous is FULL, NORMAL or OFF, not {synchronous!r}")
        self._database = Database(path, synchronous)
        self._wall = wall

    async def open(self) -> Boot:
        """Lock, migrate and open the file; return the epoch of this start and the greatest ids ever issued."""
        self._database.open()
        try:
            return await self._database.write(_boot)
        except BaseException:
            self._database.close()
            raise

    async def close(self) -> None:
        """Release everything. Closing twice is harmless."""
        self._database.close()

    async def commit(self, group: Group) -> None:
        """Apply a group of changes or nothing of it; durable on return."""
        await self._database.write(partial(write, group=group), size=group.size())

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        """Return unfinished jobs in order of id."""
        return [rows.pending(row) for row in self._database.read(QUERIES["pending"], (after, limit))]

    async def jobs(self, ids: Sequence[int]) -> list[Job]:
        """Return the jobs with these ids that exist, in that order."""
        if len(ids) == 1:
            return [rows.job(row) for row in self._database.read(QUERIES["job"], (ids[0],))]
        found = {row[0]: row for row in self._database.read(QUERIES["jobs"], (dumps(list(ids)),))}
        return [rows.job(found[id_]) for id_ in ids if id_ in found]

    async def by_key(self, tenant: str, key: str) -> int | None:
        """Return the id of the job submitted under an idempotency key."""
        found = self._database.read(QUERIES["by_key"], (tenant, key))
        return found[0][0] if found else None

    async def search(self, query: Query) -> Page:
        """Return a page of jobs."""
        found = await self._database.survey(list(statements(query, self._wall())))
        merged = sorted(chain.from_iterable(found), key=lambda row: row[0], reverse=not query.ascending)
        page = tuple(rows.job(row) for row in merged[: query.limit])
        return Page(page, page[-1].id if page and len(merged) > query.limit else None)

    async def batch(self, batch: int) -> Tally | None:
        """Return the counts of a batch."""
        found = self._database.read(QUERIES["batch"], (batch,))
        return Tally(*found[0]) if found else None

    async def entries(self, job: int, start: int, limit: int) -> list[Entry]:
        """Return event log entries from an offset on."""
        return [parts.entry(row) for row in self._database.read(QUERIES["entries"], (job, start, limit))]

    async def array(self, job: int) -> ArrayImage:
        """Return how far the members of an array are."""
        return ArrayImage(tuple(parts.segment(row) for row in self._database.read(QUERIES["segments"], (job,))))

    async def blocks(self, job: int, segment: int) -> list[Block]:
        """Return the member outcomes of one segment in the order they were written."""
        await asyncio.sleep(0)
        return [parts.block(row) for row in self._database.read(QUERIES["blocks"], (job, segment))]

    async def notifications(self, after: int, limit: int) -> list[Notification]:
        """Return undelivered notifications in order of id."""
        return [parts.notification(row) for row in self._database.read(QUERIES["notifications"], (after, limit))]

    async def record(self, space: str, key: str) -> Record | None:
        """Return a record, expired or not."""
        found = self._database.read(QUERIES["record"], (space, key))
        return parts.record(found[0]) if found else None

    async def expired(self, wall: float, limit: int) -> Sequence[Job]:
        """Return finished jobs whose time has passed, those that expired first at the front."""
        return [rows.job(row) for row in self._database.read(QUERIES["expired"], (wall, limit))]

    async def sweep(self, jobs: Sequence[Job], wall: float) -> list[str]:
        """Delete jobs with all that hangs on them, and expired records; return the digests that are free now."""
        return await self._database.write(partial(sweep, jobs=jobs, wall=wall), aside=True)


def _boot(db: Connection) -> Boot:
    db.execute(QUERIES["next_epoch"])
    return Boot(*db.execute(QUERIES["boot"]).fetchone())
