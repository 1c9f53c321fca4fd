"""Retention: a finished job is kept for as long as its policy says, and then deleted with all that belongs to it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from crossdock.core.agenda import Now
from crossdock.core.desk import Desk
from crossdock.core.jobs import Job
from crossdock.core.journal import GroupCommit

_SWEEP_LIMIT: Final = 500


class Retention:
    """Deletes what has been kept long enough.

    Args:
        desk: the broker's parts.
        journal: its way onto the disk, which stands still while jobs are deleted.
        opened: when the broker began to work.
    """

    def __init__(self, desk: Desk, journal: GroupCommit, opened: Now) -> None:
        self._desk = desk
        self._journal = journal
        self._opened = opened

    async def sweep(self) -> int:
        """Delete finished jobs whose time is over, with all that belongs to them; return how many there were."""
        count = 0
        while True:
            wall = self._steady_wall()
            jobs = await self._desk.store.expired(wall, _SWEEP_LIMIT)
            digests = await self._delete(jobs, wall)
            with suppress(Exception):  # bytes that nobody needs may stay
                await self._desk.artifacts.delete(digests)
            count += len(jobs)
            if len(jobs) < _SWEEP_LIMIT:
                return count

    async def _delete(self, jobs: Sequence[Job], wall: float) -> list[str]:
        """Delete jobs from the store while nothing can happen to them; return digests that are free now."""
        scheduler = self._desk.scheduler
        scheduler.leaving.update(job.id for job in jobs)
        try:
            await self._journal.durable()
            async with self._journal.writing:
                for job in jobs:
                    scheduler.shelf.drop(job.id)
                return await self._desk.store.sweep(jobs, wall)
        finally:
            scheduler.leaving.difference_update(job.id for job in jobs)

    def _steady_wall(self) -> float:
        """Return the time for what must not happen early: a clock that jumped ahead is believed after the next start."""
        now = self._desk.now()
        return min(now.wall, self._opened.wall + now.mono - self._opened.mono)
