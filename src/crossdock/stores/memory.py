"""A store without a disk: for tests, demonstrations, and as the plainest statement of what a store does.

It keeps the promises of the port apart from durability. Closing it keeps the data of this object, so that a restart of a
broker can be played through without files.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice

from crossdock.core.changes import ArrayImage, Block, Boot, Group, Pending
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job, Tally
from crossdock.core.lifecycle import State
from crossdock.core.requests import Entry, Notification, Page, Query, Record
from crossdock.stores.tables import Tables, apply, check, delete, own


class MemoryStore:
    """A :class:`~crossdock.core.ports.Store` in the memory of this process.

    Args:
        wall: the seconds since 1970, for the duration of jobs that still run.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._tables = Tables()
        self._epoch = 0
        self._open = False

    async def open(self) -> Boot:
        """Open the store. Raises ``conflict`` if it is open already."""
        if self._open:
            raise CrossdockError(Code.CONFLICT, "this memory store is open already")
        self._open = True
        self._epoch += 1
        return Boot(self._epoch, self._tables.last_job, self._tables.last_notification)

    async def close(self) -> None:
        """Close the store; the data stays with this object."""
        self._open = False

    async def commit(self, group: Group) -> None:
        """Apply a group of changes or nothing of it."""
        check(self._tables, group)
        apply(self._tables, group)

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        """Return unfinished jobs in order of id."""
        jobs = self._tables.jobs
        ids = sorted(id_ for id_, job in jobs.items() if id_ > after and not job.terminal)
        return [_pending(jobs[id_]) for id_ in ids[:limit]]

    async def jobs(self, ids: Sequence[int]) -> list[Job]:
        """Return the jobs with these ids that exist, in that order."""
        jobs = self._tables.jobs
        return [jobs[id_] for id_ in ids if id_ in jobs]

    async def by_key(self, tenant: str, key: str) -> int | None:
        """Return the id of the job submitted under an idempotency key."""
        return self._tables.keys.get((tenant, key))

    async def search(self, query: Query) -> Page:
        """Return a page of jobs."""
        now = self._wall()
        jobs = self._tables.jobs
        ordered = (jobs[id_] for id_ in sorted(jobs, reverse=not query.ascending))
        found = list(islice((job for job in ordered if _matches(job, query, now)), query.limit + 1))
        page = tuple(found[: query.limit])
        return Page(page, page[-1].id if page and len(found) > query.limit else None)

    async def batch(self, batch: int) -> Tally | None:
        """Return the counts of a batch."""
        return self._tables.batches.get(batch)

    async def entries(self, job: int, start: int, limit: int) -> list[Entry]:
        """Return event log entries from an offset on."""
        log = self._tables.entries.get(job, {})
        return [log[offset] for offset in sorted(log) if offset >= start][:limit]

    async def array(self, job: int) -> ArrayImage:
        """Return how far the members of an array are."""
        segments = self._tables.segments.get(job, {})
        return ArrayImage(tuple(own(segments[number]) for number in sorted(segments)))

    async def blocks(self, job: int, segment: int) -> list[Block]:
        """Return the member outcomes of one segment in the order they were written."""
        await asyncio.sleep(0)
        return [block for block in self._tables.blocks.get(job, ()) if block.segment == segment]

    async def notifications(self, after: int, limit: int) -> list[Notification]:
        """Return undelivered notifications in order of id."""
        ids = sorted(id_ for id_ in self._tables.notifications if id_ > after)
        return [self._tables.notifications[id_] for id_ in ids[:limit]]

    async def record(self, space: str, key: str) -> Record | None:
        """Return a record, expired or not."""
        return self._tables.records.get((space, key))

    async def expired(self, wall: float, limit: int) -> Sequence[Job]:
        """Return finished jobs whose time has passed and of which nothing is owed, those that expired first at the front."""
        owed = {notification.job for notification in self._tables.notifications.values()}
        jobs = (job for job in self._tables.jobs.values() if job.terminal and job.id not in owed)
        due = [(job.expires, job.id) for job in jobs if job.expires is not None]
        return [self._tables.jobs[id_] for expires, id_ in sorted(due)[:limit] if expires <= wall]

    async def sweep(self, jobs: Sequence[Job], wall: float) -> list[str]:
        """Delete jobs with all that hangs on them, and expired records; return the digests that are free now."""
        tables = self._tables
        expired = [r for r in tables.records.values() if r.expires is not None and r.expires <= wall]
        for record in expired:
            del tables.records[record.space, record.key]
        freed = [record.digest for record in expired if record.digest is not None]
        freed += [digest for job in jobs for digest in delete(tables, job.id)]
        held = {record.digest for record in tables.records.values()}
        return [digest for digest in dict.fromkeys(freed) if digest not in tables.uses and digest not in held]


def _matches(job: Job, query: Query, now: float) -> bool:
    duration = None if job.started is None else (now if job.finished is None else job.finished) - job.started
    return (
        (not query.states or job.state in query.states)
        and (not query.kinds or job.kind in query.kinds)
        and query.tenant in (None, job.tenant)
        and query.batch in (None, job.batch)
        and query.code in (None, job.code)
        and _within(job.created, query.created_from, query.created_to)
        and _within(duration, query.min_duration, query.max_duration)
        and _beyond(job.id, query)
    )


def _within(value: float | None, least: float | None, most: float | None) -> bool:
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value <= most)


def _beyond(job_id: int, query: Query) -> bool:
    if query.cursor is None:
        return True
    return job_id > query.cursor if query.ascending else job_id < query.cursor


def _pending(job: Job) -> Pending:
    limits = job.overrides
    return Pending(
        id=job.id,
        kind=job.kind,
        state=job.state,
        requirements=job.requirements,
        priority=job.priority,
        tenant=job.tenant,
        created=job.created,
        due=job.due,
        queue_timeout=limits.queue_timeout if limits else None,
        total_timeout=limits.total_timeout if limits else None,
        special=job.array is not None or bool(job.after) or job.state is State.LEASED,
    )
