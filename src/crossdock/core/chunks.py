"""What happens to leased chunks of arrays: granting, reports of members, loss, and the end of the array."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from crossdock.core.agenda import Errand, Now
from crossdock.core.arrays import ArrayRun, Chunk
from crossdock.core.changes import SEGMENT, Block, MemberResult
from crossdock.core.fleet import Worker
from crossdock.core.jobs import Job, Lease, MemberOutcome, Members, Outcome, OutcomeKind
from crossdock.core.lease_book import LeaseRecord
from crossdock.core.leases import Leases
from crossdock.core.lifecycle import Event, State
from crossdock.core.matching import class_of
from crossdock.core.policy import Policy, pause, retryable
from crossdock.core.scheduler import Scheduler
from crossdock.core.tables import parameters

_encode: Final = msgspec.json.Encoder().encode
_NOTE_EVERY: Final = 0.5
_NULL: Final = b"null"


class Chunks:
    """Leases members of arrays and records how they end."""

    def __init__(self, scheduler: Scheduler, leases: Leases, draw: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._leases = leases
        self._draw = draw

    def grant(self, job: Job, worker: Worker, now: Now) -> Lease | None:
        """Lease the next members of an array that came up in the ready queue; None if there are none to be had."""
        scheduler = self._scheduler
        run = scheduler.arrays[job.id]
        run.queued = False
        if job.cancel_requested:
            return None
        indexes = run.take(run.chunk_size(self._slots(job)))
        if not indexes:
            return None
        if job.state is State.READY:
            job = scheduler.apply(job, Event.LEASE, now, attempt=1, started=now.wall, due=None)
        policy = scheduler.policy(job)
        added = tuple(parameters(run.spec, run.rows, index) for index in indexes)
        attempts = tuple(run.attempts(index) + 1 for index in indexes)
        record = self._leases.issue(job, worker, policy.lease, now)
        record.chunk = Chunk(indexes, now.mono)
        if policy.timeout is not None:
            self._leases.book.limit(record, policy.timeout * len(indexes) + policy.grace, now)
        if run.available():
            scheduler.enqueue(job, first=True)
        return Lease(
            job=job.id,
            token=record.token,
            attempt=1,
            kind=job.kind,
            payload=job.payload,
            length=policy.lease,
            timeout=policy.timeout,
            grace=policy.grace,
            tenant=job.tenant,
            members=Members(indexes=indexes, parameters=added, attempts=attempts if max(attempts) > 1 else ()),
        )

    def report(self, record: LeaseRecord, outcomes: Iterable[MemberOutcome], now: Now) -> None:
        """Record how members of a chunk ended; the lease ends with the last of them."""
        job, run, chunk = self._open(record)
        self._record(job, run, self._judge(job, run, chunk, outcomes, now))
        if not chunk.left:
            run.learn(now.mono - chunk.since, chunk.size)
            self._leases.end(record, now)
        self.advance(job, now)

    def close(self, record: LeaseRecord, outcome: Outcome, now: Now) -> None:
        """End a chunk's lease as a whole.

        Members run in order, so the first that was not reported is the one that ``outcome`` happened to; those after it
        had not begun and are handed back. A failure before any member ran (no process, no such kind) is everybody's.
        """
        job, run, chunk = self._open(record)
        self._leases.end(record, now)
        rest = list(chunk.left)
        if outcome.kind in {OutcomeKind.RELEASED, OutcomeKind.SUCCEEDED}:
            suspects: list[int] = []
        else:
            suspects = rest if outcome.kind in {OutcomeKind.FAILED, OutcomeKind.CANCELLED} else rest[:1]
        run.give_back(rest[len(suspects) :])
        blamed = [MemberOutcome(index=index, outcome=outcome) for index in suspects]
        self._record(job, run, self._judge(job, run, chunk, blamed, now))
        self.advance(job, now)

    def advance(self, job: Job, now: Now) -> None:
        """Finish an array whose members have all ended, else see that it is queued, and note its progress."""
        scheduler = self._scheduler
        run = scheduler.arrays[job.id]
        if job.cancel_requested and not run.leased:
            scheduler.finish(job, Event.CANCEL, Outcome(kind=OutcomeKind.CANCELLED), now)
        elif run.done:
            self._finish(job, run, now)
        else:
            if not run.queued and run.available() and not job.cancel_requested:
                scheduler.enqueue(job)
            if now.mono - run.noted >= _NOTE_EVERY and job.state is State.LEASED:
                run.noted = now.mono
                tally = run.tally
                scheduler.apply(job, Event.NOTE, now, _encode(tally), "progress", tally=tally)

    def resume(self, job: Job, index: int, now: Now) -> None:
        """Make a member available again whose back-off is over."""
        run = self._scheduler.arrays.get(job.id)
        if run is not None:
            run.resume(index)
            self.advance(job, now)

    def _open(self, record: LeaseRecord) -> tuple[Job, ArrayRun, Chunk]:
        job = self._scheduler.shelf.get(record.job)
        chunk = record.chunk
        if job is None or chunk is None:
            raise AssertionError("a leased array is on the shelf, and its lease has a chunk")
        return job, self._scheduler.arrays[record.job], chunk

    def _slots(self, job: Job) -> int:
        workers = self._scheduler.fleet.learn(class_of(job)).values()
        return sum(worker.info.slots for worker in workers)

    def _judge(
        self, job: Job, run: ArrayRun, chunk: Chunk, outcomes: Iterable[MemberOutcome], now: Now
    ) -> list[MemberResult]:
        """Return the members that have ended; those that get another attempt are put aside."""
        policy = self._scheduler.policy(job)
        ended: list[MemberResult] = []
        left = chunk.left
        for item in outcomes:
            index, outcome = item.index, item.outcome
            if index not in left:
                continue
            del left[index]
            if outcome.kind is OutcomeKind.SUCCEEDED:
                ended.append(MemberResult(index, State.SUCCEEDED, run.attempts(index) + 1, outcome.result))
            elif outcome.kind is OutcomeKind.RELEASED:
                run.give_back((index,))
            else:
                self._stumble(job, run, policy, item, now, ended)
        return ended

    def _stumble(
        self, job: Job, run: ArrayRun, policy: Policy, item: MemberOutcome, now: Now, ended: list[MemberResult]
    ) -> None:
        index, outcome = item.index, item.outcome
        attempt = run.attempts(index) + 1
        if job.cancel_requested or outcome.kind is OutcomeKind.CANCELLED:
            ended.append(MemberResult(index, State.CANCELLED, attempt))
        elif outcome.kind is OutcomeKind.FAILED or not retryable(policy, attempt, outcome.code):
            ended.append(MemberResult(index, State.FAILED, attempt, None, outcome.code, outcome.message))
        else:
            run.delay(index)
            self._keep(run, {index // SEGMENT})
            seconds = pause(policy, attempt, self._draw(), outcome.retry_after)
            self._scheduler.agenda.remind(now.mono + seconds, Errand(job.id, "member", index))

    def _record(self, job: Job, run: ArrayRun, ended: Sequence[MemberResult]) -> None:
        run.end(ended)
        blocks: defaultdict[int, list[MemberResult]] = defaultdict(list)
        for result in ended:
            blocks[result.index // SEGMENT].append(result)
        self._keep(run, blocks)
        for number, results in blocks.items():
            telling = tuple(result for result in results if _telling(result))
            if telling:
                self._scheduler.group.blocks.append(Block(job.id, number, telling))

    def _keep(self, run: ArrayRun, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._scheduler.group.segments[run.job, number] = run.image(number)

    def _finish(self, job: Job, run: ArrayRun, now: Now) -> None:
        tally = run.tally
        if tally.succeeded == tally.total:
            self._scheduler.finish(job, Event.SUCCEED, Outcome(kind=OutcomeKind.SUCCEEDED), now)
            return
        message = f"{tally.failed} of {tally.total} members failed"
        outcome = Outcome(kind=OutcomeKind.FAILED, code="members_failed", message=message)
        self._scheduler.finish(job, Event.FAIL, outcome, now)


def _telling(result: MemberResult) -> bool:
    """Tell whether a member's end says more than its bit: the result null at the first attempt need not be written."""
    return result.state is not State.SUCCEEDED or result.result != _NULL or result.attempt != 1
