"""The workers' door of the broker: attach, claim, renew, report."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from crossdock.core.agenda import Errand, Now
from crossdock.core.arrays import ArrayRun
from crossdock.core.desk import Desk
from crossdock.core.documents import is_large, shelve
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.fleet import Worker
from crossdock.core.jobs import Document, Job, Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.lifecycle import TERMINAL, Event, State
from crossdock.core.needs import inputs_of
from crossdock.core.requests import LOCAL, Note, Renewal, Verdict, WorkerInfo
from crossdock.core.tables import read_rows

_encode: Final = msgspec.json.Encoder().encode
_RELEASED: Final = Outcome(kind=OutcomeKind.RELEASED)


class BrokerDispatch:
    """Implements :class:`~crossdock.core.ports.Dispatch`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._fleet = desk.scheduler.fleet

    async def attach(self, worker: WorkerInfo, tokens: Sequence[int] = ()) -> Renewal:
        """Introduce a worker, or replace what is known of it; ``tokens`` are leases it still holds from before."""
        if worker.local != worker.id.startswith(LOCAL):
            raise CrossdockError(
                Code.INVALID, f"ids of workers inside the broker's process, and only those, begin with {LOCAL!r}"
            )
        now = self._desk.now()
        attached = self._fleet.attach(worker, now.wall)
        for requirements in list(self._desk.scheduler.ready.classes()):
            self._fleet.learn(requirements)
        return self._desk.leases.adopt(attached, tokens, now)

    async def detach(self, worker: str) -> None:
        """Forget a worker; what it has leased and not reported is handed back."""
        gone = self._fleet.detach(worker)
        if gone is not None:
            self._hand_back(list(gone.tokens))
            await self._desk.journal.durable()

    def _hand_back(self, tokens: Iterable[int]) -> None:
        """Release leases, apart from those that were taken away meanwhile."""
        for token in tokens:
            if token in self._desk.leases.records:
                self._end(token, _RELEASED)

    async def claim(self, worker: str, limit: int, wait: float = 0.0) -> list[Lease]:
        """Return up to ``limit`` leases, waiting at most ``wait`` seconds for the first."""
        desk = self._desk
        ends = desk.clock.monotonic() + wait
        chosen = False
        while True:
            desk.journal.check()
            member = self._fleet.get(worker)
            member.seen = desk.clock.wall()
            try:
                leases = [] if member.draining else await self._take(member, limit)
            finally:
                if chosen:  # it may have taken other work than it was woken for, which then is somebody else's
                    desk.scheduler.rouse(member.classes)
            left = ends - desk.clock.monotonic()
            if leases or left <= 0:
                return leases
            chosen = await self._await_work(member, left)

    async def _await_work(self, member: Worker, seconds: float) -> bool:
        """Wait for work; tell whether the worker was chosen for some. If it then cannot take it, another one is woken."""
        scheduler, worker = self._desk.scheduler, member.info.id
        classes = member.classes
        ticket = None if member.draining else self._fleet.wait(worker)
        able = False
        try:
            await self._desk.signals.wait(worker_topic(worker), seconds)
            able = self._fleet.find(worker) is member and not member.draining
        finally:
            chosen = ticket is not None and not self._fleet.leave(ticket)
            if chosen and not able:
                scheduler.rouse(classes)
        return chosen

    async def _take(self, worker: Worker, limit: int) -> list[Lease]:
        scheduler = self._desk.scheduler
        leases: list[Lease] = []
        while len(leases) < limit and (taken := scheduler.ready.take(worker.classes, limit - len(leases))):
            scheduler.transit.update(taken)
            try:
                snapshots = await self._fetch(taken)
                results = await self._results_of_parents(snapshots.values())
                now = self._desk.now()
                while taken:
                    job_id = taken.popleft()
                    if job_id not in scheduler.transit:  # it has ended meanwhile
                        continue
                    scheduler.transit.discard(job_id)
                    job = scheduler.shelf.get(job_id) or snapshots.get(job_id)
                    if (run := scheduler.arrays.get(job_id)) is not None:
                        lease = await self._grant_members(job_id, run, worker, results)
                        now = self._desk.now()
                    else:
                        lease = self._grant(job, worker, results, now)
                    if lease is not None:
                        leases.append(lease)
            except BaseException:  # nobody will get what was taken: the claim failed, or its caller has gone
                scheduler.agenda.add(Errand(job_id, "ready") for job_id in taken)
                self._hand_back([lease.token for lease in leases])
                raise
        if leases:
            self._desk.journal.kick()
        return leases

    async def _fetch(self, ids: Collection[int]) -> dict[int, Job]:
        """Return queued jobs, reading those that are not at hand; meanwhile they may be cancelled."""
        shelf = self._desk.scheduler.shelf
        found = {job_id: job for job_id in ids if (job := shelf.get(job_id)) is not None}
        absent = [job_id for job_id in ids if job_id not in found] if len(found) < len(ids) else []
        return found | {job.id: job for job in await self._desk.store.jobs(absent)} if absent else found

    async def _results_of_parents(self, jobs: Iterable[Job]) -> dict[int, Document | None]:
        parents = {parent for job in jobs if job.after for parent in job.after}
        return {job.id: job.result for job in await self._desk.store.jobs(sorted(parents))} if parents else {}

    def _grant(self, job: Job | None, worker: Worker, results: Mapping[int, Document | None], now: Now) -> Lease | None:
        if job is None or job.state is not State.READY:
            return None
        return _provided(self._desk.leases.grant(job, worker, now), job, results)

    async def _grant_members(
        self, job_id: int, run: ArrayRun, worker: Worker, results: Mapping[int, Document | None]
    ) -> Lease | None:
        desk = self._desk
        run.queued = False
        if run.spec.table is not None and run.rows is None:
            await self._read_table(job_id, run)
        job = desk.scheduler.shelf.get(job_id)
        if job is None or desk.scheduler.arrays.get(job_id) is not run:
            return None
        lease = desk.chunks.grant(job, worker, desk.now())
        return None if lease is None else _provided(lease, job, results)

    async def _read_table(self, job_id: int, run: ArrayRun) -> None:
        """Read the rows of an array; it fails if they are not what it needs, and is queued again if this is given up."""
        scheduler = self._desk.scheduler
        try:
            run.rows = await read_rows(self._desk.artifacts, run.spec)
        except BaseException as error:
            job = scheduler.shelf.get(job_id)
            if job is None or scheduler.arrays.get(job_id) is not run:
                return
            if not isinstance(error, CrossdockError) or error.code not in {Code.NOT_FOUND, Code.INVALID}:
                scheduler.enqueue(job, first=True)
                raise
            outcome = Outcome(kind=OutcomeKind.FAILED, code="table", message=error.message)
            scheduler.finish(job, Event.FAIL, outcome, self._desk.now())

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        """Say that these leases are alive; learn which are not any more, and which should stop."""
        return self._desk.leases.renew(self._fleet.get(worker), tokens, self._desk.now())

    async def note(self, token: int, note: Note) -> None:
        """Record what a running attempt says of itself. Of an ended lease it is ignored."""
        desk, now = self._desk, self._desk.now()
        desk.journal.check()  # what a job says must not pile up in memory while the disk is full
        record = desk.leases.records.get(token)
        job = None if record is None else desk.scheduler.shelf.get(record.job)
        if record is None or job is None:
            return
        if note.progress is not None and record.chunk is None:
            data = _encode(note.progress)
            job = desk.scheduler.apply(job, Event.NOTE, now, data, "progress", progress=note.progress)
        if note.log is not None:
            job = desk.scheduler.apply(job, Event.NOTE, now, _encode({"text": note.log}), "log")
        if note.step is not None:
            desk.scheduler.apply(job, Event.NOTE, now, _encode(note.step), "step")
        desk.journal.kick()

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        """End an attempt. The verdict is durable on return."""
        verdict = await self._conclude(token, outcome)
        await self._desk.journal.durable()
        return verdict

    async def report_soon(self, token: int, outcome: Outcome) -> Verdict:
        """End an attempt of a worker that gets no answer. The verdict is written at once, but perhaps not yet on return."""
        verdict = await self._conclude(token, outcome)
        self._desk.journal.hasten()
        return verdict

    async def _conclude(self, token: int, outcome: Outcome) -> Verdict:
        if outcome.result is not None and is_large(outcome.result):
            outcome = replace(outcome, result=await shelve(self._desk.artifacts, outcome.result))
        return self._end(token, outcome) if token in self._desk.leases.records else await self._late(token, outcome)

    def _end(self, token: int, outcome: Outcome) -> Verdict:
        desk, now = self._desk, self._desk.now()
        record = desk.leases.records[token]
        if record.chunk is not None:
            desk.chunks.close(record, outcome, now)
            return Verdict(late=False)
        desk.leases.end(record, now)
        job = desk.scheduler.shelf.get(record.job)
        if job is None:
            raise AssertionError("a leased job is on the shelf")
        return Verdict(late=False, state=desk.leases.conclude(job, outcome, now).state)

    async def _late(self, token: int, outcome: Outcome) -> Verdict:
        """Judge a report whose lease has ended: a success counts if nobody else has begun the job since."""
        desk = self._desk
        job_id = desk.leases.job_of(token)
        job = None if job_id is None else await desk.newest(job_id)
        if job is None:
            return Verdict(late=True)
        now = desk.now()
        if job.token == token and outcome.kind is OutcomeKind.SUCCEEDED and job.state in {State.READY, State.WAITING}:
            return Verdict(late=False, state=desk.scheduler.finish(job, Event.SUCCEED, outcome, now).state)
        if job.token == token and job.state in TERMINAL and _same(job, outcome):
            return Verdict(late=False, state=job.state)
        data = {"outcome": outcome.kind, "code": outcome.code, "message": outcome.message}
        desk.scheduler.log(job, "late", now, _encode(data))
        return Verdict(late=True, state=job.state)

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        """Record outcomes of members of a leased array chunk; the lease ends with the last of them."""
        desk = self._desk
        shelved = [await self._shelve(item) if is_large(item.outcome.result) else item for item in outcomes]
        record = desk.leases.records.get(token)
        if record is None or record.chunk is None:
            return Verdict(late=True)
        desk.chunks.report(record, shelved, desk.now())
        await desk.journal.durable()
        return Verdict(late=False)

    async def _shelve(self, item: MemberOutcome) -> MemberOutcome:
        result = item.outcome.result
        shelved = None if result is None else await shelve(self._desk.artifacts, result)
        return replace(item, outcome=replace(item.outcome, result=shelved))


def _provided(lease: Lease, job: Job, results: Mapping[int, Document | None]) -> Lease:
    """Return a lease with the results of the jobs that its job comes after."""
    return replace(lease, inputs=inputs_of(job, results), needs=job.needs) if job.after else lease


def worker_topic(worker: str) -> str:
    """Return the topic that is notified when there is work for a worker."""
    return f"worker:{worker}"


def _same(job: Job, outcome: Outcome) -> bool:
    """Tell whether a repeated report says what the job's end says already."""
    return job.outcome == outcome.kind and job.result == outcome.result
