"""What the doors of a broker share: its state, its ports, and the way onto the disk."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from crossdock.core.agenda import Now
from crossdock.core.changes import Admission
from crossdock.core.chunks import Chunks
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import IdSource, encode_id
from crossdock.core.jobs import Job
from crossdock.core.leases import Leases
from crossdock.core.ports import Artifacts, Clock, Signals, Store
from crossdock.core.requests import Record
from crossdock.core.scheduler import Scheduler


class Journal(Protocol):
    """The way onto the disk: what the scheduler's group holds is committed soon, together with what others add."""

    def check(self) -> None:
        """Raise ``unavailable`` while the disk is full or the broker is not running."""
        ...

    def kick(self) -> None:
        """Commit soon; nobody waits for it."""
        ...

    def hasten(self) -> None:
        """Commit at once, although nobody waits for it."""
        ...

    def durable(self) -> Awaitable[None]:
        """Return when everything that is in the group now is on disk.

        Raises:
            StoreFull: there is no space; changes of jobs stay in memory and are written when there is.
        """
        ...

    def admit(self, admission: Admission, unmet: Mapping[int, tuple[int, ...]]) -> Awaitable[None]:
        """Write new jobs; return when they are on disk. If that fails they have never been."""
        ...

    def unsettled(self, job: int) -> bool:
        """Tell whether there are changes of a job that are not on disk yet."""
        ...

    def records(self) -> Sequence[Mapping[tuple[str, str], Record | None]]:
        """Return the changes of records that are not on disk yet, the newest first; None stands for a deletion."""
        ...


class Desk(Struct):
    """The parts of one broker."""

    scheduler: Scheduler
    leases: Leases
    chunks: Chunks
    ids: IdSource
    journal: Journal
    store: Store
    artifacts: Artifacts
    signals: Signals
    clock: Clock

    def now(self) -> Now:
        """Return the time."""
        return Now(self.clock.wall(), self.clock.monotonic())

    async def newest(self, job: int) -> Job | None:
        """Return the newest snapshot of a job, which may not be on disk yet."""
        if job in self.scheduler.leaving:
            return None
        if job in self.scheduler.newcomers.jobs:
            await self.journal.durable()
        snapshot = self.scheduler.shelf.get(job)
        if snapshot is None:
            found = await self.store.jobs((job,))
            snapshot = self.scheduler.shelf.get(job) or (found[0] if found else None)
        return snapshot

    async def visible(self, job: int) -> Job:
        """Return a job as a client may see it: an end is shown only once it is on disk.

        Raises:
            CrossdockError: ``not_found``.
        """
        snapshot = await self.newest(job)
        if snapshot is not None and snapshot.terminal and self.journal.unsettled(job):
            await self.journal.durable()
            snapshot = await self.newest(job)
        if snapshot is None:
            raise CrossdockError(Code.NOT_FOUND, f"there is no job {encode_id(job)}")
        return snapshot
