"""The clients' door of the broker: submit, cancel, run again, and look."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import replace

from crossdock.core.cancelling import cancel
from crossdock.core.changes import Admission
from crossdock.core.desk import Desk
from crossdock.core.documents import is_large, shelve
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.families import Family, Need, make, needs_of, shelved
from crossdock.core.harvest import harvest, harvest_one, succeeded
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, Job, Tally
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.log import whole
from crossdock.core.needs import own_parents
from crossdock.core.requests import CancelMode, Entry, MemberView, Page, Query, Submit, Submitted
from crossdock.core.submission import check_submit
from crossdock.core.tables import parameters, read_rows

_encode: Final = msgspec.json.Encoder().encode


class BrokerIntake:
    """Implements :class:`~crossdock.core.ports.Intake`."""

    def __init__(self, desk: Desk, kinds: Mapping[str, Kind]) -> None:
        self._desk = desk
        self._kinds = kinds

    async def submit(self, request: Submit) -> Submitted:
        """Accept a job; it is on disk on return."""
        answer, written = await self.submit_soon(request)
        if written is not None:
            await written
        return answer

    async def submit_soon(self, request: Submit) -> tuple[Submitted, Awaitable[None] | None]:
        """Accept a job once it is on disk, for which to wait is left to the caller; None if there is nothing to wait for."""
        self._desk.journal.check()
        made = await self._make(request, None)
        if isinstance(made, Submitted):
            return made, None
        return Submitted(made.head), self._write(made, None)

    async def submit_batch(self, requests: Sequence[Submit], tenant: str = "") -> tuple[int, list[Submitted]]:
        """Accept jobs as one batch in one transaction, all or none."""
        if not requests:
            raise CrossdockError(Code.INVALID, "a batch needs at least one job")
        self._desk.journal.check()
        batch = self._desk.ids.next(self._desk.clock.wall())
        answers: list[Submitted] = []
        family = Family()
        try:
            for request in requests:
                made = await self._make(request, batch)
                if isinstance(made, Submitted):
                    answers.append(made)
                    continue
                family.add(made)
                answers.append(Submitted(made.head))
        except BaseException:
            self._turn_away(family.jobs)
            raise
        size = sum(not answer.existing for answer in answers)
        if size:
            await self._write(family, (batch, tenant, size))
        return batch if size else answers[0].job.batch or batch, answers

    async def _make(self, request: Submit, batch: int | None) -> Family | Submitted:
        """Return a new job with those it needs, or the job that the request's key names already."""
        kind = check_submit(request, self._kinds)
        if kind.requirements:
            request = replace(request, requirements=(*kind.requirements, *request.requirements))
        needs = await needs_of(request, kind, self._kinds, self._desk.artifacts) if kind.needs else ()
        if request.array is not None or is_large(request.payload):
            request = await shelved(request, self._desk.artifacts)
        if request.key is None:
            return await self._related(request, needs, batch)
        return await self._make_once(request, request.key, needs, batch)

    async def _related(self, request: Submit, needs: Sequence[Need], batch: int | None) -> Family:
        waits = await self._unfinished(request.after) if request.after else ()
        return make(request, needs, waits, self._desk.ids, self._desk.clock.wall(), batch)

    async def _make_once(self, request: Submit, key: str, needs: Sequence[Need], batch: int | None) -> Family | Submitted:
        """Make a job unless there is one under its key, which is taken before anything is waited for."""
        newcomers, tenant = self._desk.scheduler.newcomers, request.tenant
        taken = newcomers.reserve(tenant, key)
        try:
            if not taken:
                await self._desk.journal.durable()
            if (found := await self._desk.store.by_key(tenant, key)) is not None:
                return Submitted(await self.job(found), existing=True)
            if not taken:
                raise CrossdockError(Code.CONFLICT, f"the key {key!r} is used twice at the same time")
            family = await self._related(request, needs, batch)
            newcomers.bind(family.head)
            return family
        finally:
            if taken:
                newcomers.release(tenant, key)

    def _write(self, family: Family, batch: tuple[int, str, int] | None) -> Awaitable[None]:
        try:
            return self._desk.journal.admit(Admission(family.jobs, family.records, batch), family.waits)
        except CrossdockError:
            self._turn_away(family.jobs)
            raise

    def _turn_away(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._desk.scheduler.newcomers.leave(job)

    async def _unfinished(self, parents: tuple[int, ...]) -> tuple[int, ...]:
        found = [await self.job(parent) for parent in dict.fromkeys(parents)]
        for parent in found:
            if parent.state in {State.FAILED, State.CANCELLED}:
                text = f"the job {encode_id(parent.id)} that this one should come after is {parent.state}"
                raise CrossdockError(Code.CONFLICT, text)
        return tuple(parent.id for parent in found if not parent.terminal)

    async def cancel(self, job: int, mode: CancelMode = "cooperative") -> Job:
        """Cancel a job, at once if it is not running; return it as it is then."""
        desk = self._desk
        await self.job(job)
        await self._request_cancel(job, mode)
        await desk.journal.durable()
        return await self.job(job)

    async def cancel_batch(self, batch: int) -> int:
        """Cancel all unfinished jobs of a batch."""
        unfinished = (State.WAITING, State.READY, State.LEASED)
        query = Query(batch=batch, states=unfinished, limit=1000)
        count = 0
        while True:
            await self._desk.journal.durable()
            page = await self.search(query)
            for job in page.jobs:
                await self._request_cancel(job.id, "cooperative")
            count += len(page.jobs)
            if page.cursor is None:
                await self._desk.journal.durable()
                return count
            query = replace(query, cursor=page.cursor)

    async def _request_cancel(self, job_id: int, mode: CancelMode) -> None:
        now = self._desk.now()
        job = await self._desk.newest(job_id)
        if job is not None:
            cancel(self._desk, job, mode, now)

    async def retry(self, job: int) -> Job:
        """Submit a failed or cancelled job again as a new job; of an array, the members that did not succeed."""
        old = await self.job(job)
        if old.state not in {State.FAILED, State.CANCELLED}:
            raise CrossdockError(Code.CONFLICT, f"only failed and cancelled jobs can be run again; this one is {old.state}")
        kind = self._kinds.get(old.kind)
        if old.needs and kind is None:
            raise CrossdockError(Code.NOT_FOUND, f"there is no kind {old.kind!r} any more, so nobody knows what it needs")
        array = await self._rest_of(old) if old.array is not None else None
        after = own_parents(old)
        waits = await self._unfinished(after)
        self._desk.journal.check()
        request = Submit(
            kind=old.kind,
            payload=old.payload,
            requirements=old.requirements,
            priority=old.priority,
            tenant=old.tenant,
            after=after,
            array=array,
            overrides=old.overrides,
            notify=old.notify,
        )
        needs = await needs_of(request, kind, self._kinds, self._desk.artifacts) if kind is not None and kind.needs else ()
        family = make(request, needs, waits, self._desk.ids, self._desk.clock.wall(), None)
        family.jobs[-1] = replace(family.head, retry_of=old.id)
        await self._write(family, None)
        return family.head

    async def _rest_of(self, old: Job) -> ArraySpec:
        """Return an array of the members of ``old`` that did not succeed."""
        spec = old.array
        if spec is None:
            raise AssertionError("only arrays have members")
        desk = self._desk
        rows = await read_rows(desk.artifacts, spec)
        good = await succeeded(desk.store, old.id)
        rest = [parameters(spec, rows, index) for index in range(spec.count) if index not in good]
        if not rest:
            raise CrossdockError(Code.CONFLICT, "every member of this array succeeded; there is nothing to run again")
        return ArraySpec(count=len(rest), name=spec.name, table=await shelve(desk.artifacts, _encode(rest)))

    async def job(self, job: int) -> Job:
        """Return a job as it is on disk."""
        snapshot = await self._desk.visible(job)
        run = self._desk.scheduler.arrays.get(job)
        return snapshot if run is None else replace(snapshot, tally=run.tally)

    async def find(self, tenant: str, key: str) -> Job | None:
        """Return the job that was submitted under an idempotency key, waiting for one that is just being written."""
        if self._desk.scheduler.newcomers.has_key(tenant, key):
            await self._desk.journal.durable()
        found = await self._desk.store.by_key(tenant, key)
        return None if found is None else await self.job(found)

    async def search(self, query: Query) -> Page:
        """Return a page of jobs: all that has happened by now, or while the disk is full, what is on it."""
        with suppress(StoreFull):
            self._desk.journal.check()
            await self._desk.journal.durable()
        return await self._desk.store.search(query)

    async def batch(self, batch: int) -> Tally:
        """Return how far a batch is."""
        tally = await self._desk.store.batch(batch)
        if tally is None:
            raise CrossdockError(Code.NOT_FOUND, f"there is no batch {encode_id(batch)}")
        return tally

    async def entries(self, job: int, start: int, limit: int = 1000) -> list[Entry]:
        """Return event log entries of a job from offset ``start`` on."""
        store = self._desk.store
        found = await store.jobs((job,))  # before the entries: what it tells stays true whatever happens in between
        return whole(found[0], await store.entries(job, start, limit), start, limit) if found else []

    async def wait(self, job: int, timeout: float) -> Job:
        """Return the job once it has ended, or as it is after ``timeout`` seconds."""
        ends = self._desk.clock.monotonic() + timeout
        while True:
            snapshot = await self.job(job)
            left = ends - self._desk.clock.monotonic()
            if snapshot.terminal or left <= 0:
                return snapshot
            await self._desk.signals.wait(job_topic(job), left)

    async def changed(self, job: int, seen: int, timeout: float) -> Job:
        """Return the job once it has ended or its log has an entry from offset ``seen`` on, or after ``timeout`` seconds."""
        ends = self._desk.clock.monotonic() + timeout
        while True:
            snapshot = await self.job(job)
            left = ends - self._desk.clock.monotonic()
            if snapshot.events > seen or snapshot.terminal or left <= 0:
                if self._desk.journal.unsettled(job):
                    await self._desk.journal.durable()
                return snapshot
            await self._desk.signals.wait(job_topic(job), left)

    async def members(self, array: int, state: str | None = None, start: int = 0) -> AsyncIterator[MemberView]:
        """Stream the finished members of an array from a position on, in order, optionally only those in one state."""
        job = await self._array(array)
        async for view in harvest(self._desk.store, job, None if state is None else State(state), start):
            yield view

    async def member(self, array: int, index: int) -> MemberView:
        """Return one member of an array."""
        job = await self._array(array)
        if job.array is None or not 0 <= index < job.array.count:
            raise CrossdockError(Code.NOT_FOUND, f"the array {encode_id(array)} has no member {index}")
        return await harvest_one(self._desk.store, job, index)

    async def _array(self, array: int) -> Job:
        job = await self.job(array)
        if job.array is None:
            raise CrossdockError(Code.NOT_FOUND, f"the job {encode_id(array)} is no array")
        return job


def job_topic(job: int) -> str:
    """Return the topic that is notified when the log of a job has grown on disk."""
    return f"job:{job}"
