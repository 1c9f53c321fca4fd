"""Leases: who runs what, until when, and what follows when an attempt ends.

A lease ends in exactly one way: its worker reports, its time runs out, its worker leaves, or its job is taken from it.
From then on its token is stale. One exception is made, because the work is done and nobody else has begun it again: a
success that comes late is accepted while its token is still the newest of the job.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from crossdock.core.agenda import Errand, Now
from crossdock.core.fleet import Worker
from crossdock.core.jobs import Job, Lease, Outcome, OutcomeKind
from crossdock.core.lease_book import LeaseBook, LeaseRecord
from crossdock.core.lifecycle import Event, State
from crossdock.core.policy import pause, retryable
from crossdock.core.requests import Renewal
from crossdock.core.scheduler import Scheduler

_encode: Final = msgspec.json.Encoder().encode
_REMEMBERED: Final = 10_000
_SEQUENCE_BITS: Final = 32


class Leases:
    """All leases of a broker.

    Args:
        scheduler: where the jobs are.
        draw: returns a random number in [0, 1), for the jitter of back-offs.
    """

    def __init__(self, scheduler: Scheduler, draw: Callable[[], float]) -> None:
        self.book = LeaseBook()
        self.records = self.book.records
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._scheduler = scheduler
        self._token = 0
        self._draw = draw

    def begin(self, epoch: int) -> None:
        """Make all further tokens greater than those of earlier starts."""
        self._token = epoch << _SEQUENCE_BITS

    def grant(self, job: Job, worker: Worker, now: Now) -> Lease:
        """Lease a ready job to a worker."""
        policy = self._scheduler.policy(job)
        record = self.issue(job, worker, policy.lease, now)
        if policy.timeout is not None:
            self.book.limit(record, policy.timeout + policy.grace, now)
        attempt = job.attempt + 1
        self._scheduler.apply(
            job, Event.LEASE, now, attempt=attempt, token=record.token, worker=record.worker, started=now.wall, due=None
        )
        for subscriber in job.notify:
            if attempt == 1 and State.LEASED in subscriber.on:
                self._scheduler.owe(job.id, subscriber.channel, subscriber.address, State.LEASED, now)
        return Lease(
            job=job.id,
            token=record.token,
            attempt=attempt,
            kind=job.kind,
            payload=job.payload,
            length=policy.lease,
            timeout=policy.timeout,
            grace=policy.grace,
            tenant=job.tenant,
        )

    def issue(self, job: Job, worker: Worker, length: float, now: Now) -> LeaseRecord:
        """Give a worker a new lease of a job."""
        self._token = token = self._token + 1
        info = worker.info
        record = self.book.enter(LeaseRecord(token, job.id, info.id, length, now.mono + length, info.local))
        worker.tokens.add(token)
        worker.idle_since = None
        return record

    def restore(self, job: Job, now: Now) -> None:
        """Take up a lease that was on disk when the broker started; its worker may still be running it."""
        policy = self._scheduler.policy(job)
        ends = now.mono + policy.lease
        cancelled = job.cancel_requested
        record = self.book.enter(LeaseRecord(job.token, job.id, job.worker or "", policy.lease, ends, cancelled=cancelled))
        if policy.timeout is not None:
            ran = min(max(now.wall - (job.started or now.wall), 0.0), policy.timeout)
            self.book.limit(record, policy.timeout + policy.grace - ran, now)
        if record.cancelled:
            self.book.limit(record, policy.grace, now)

    def adopt(self, worker: Worker, tokens: Iterable[int], now: Now) -> Renewal:
        """Bind leases that a worker says it holds to it: those that are still leases are alive, the others are not."""
        held = [token for token in tokens if (record := self.records.get(token)) and record.worker == worker.info.id]
        worker.tokens.update(held)
        if held:
            worker.idle_since = None
        return self.renew(worker, held, now)

    def renew(self, worker: Worker, tokens: Iterable[int], now: Now) -> Renewal:
        """Extend leases."""
        worker.seen = now.wall
        alive: list[int] = []
        cancelled: list[int] = []
        for token in tokens:
            record = self.records.get(token)
            if record is None or record.worker != worker.info.id:
                continue
            record.deadline = now.mono + record.length
            alive.append(token)
            if record.cancelled:
                cancelled.append(token)
        return Renewal(tuple(alive), tuple(cancelled))

    def end(self, record: LeaseRecord, now: Now) -> None:
        """Take a token out of the books; for a while it is remembered whose it was, for reports that come late."""
        self.book.strike(record)
        self._ended[record.token] = record.job
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        worker = self._scheduler.fleet.find(record.worker)
        if worker is not None:
            worker.tokens.discard(record.token)
            if not worker.tokens:
                worker.idle_since = now.wall

    def job_of(self, token: int) -> int | None:
        """Return the job of a lease that has ended not long ago."""
        return self._ended.get(token)

    def revoke(self, job: int, now: Now) -> None:
        """End all leases of a job without asking their holders."""
        for record in self.book.of_job(job):
            self.end(record, now)

    def request_cancel(self, job: int, now: Now, grace: float) -> None:
        """Ask the holders of a job's leases to stop, and take them away when they have not after ``grace`` seconds."""
        for record in self.book.of_job(job):
            if not record.cancelled:
                record.cancelled = True
                self.book.limit(record, grace, now)

    def conclude(self, job: Job, outcome: Outcome, now: Now) -> Job:
        """Decide what becomes of a leased job whose attempt ended with ``outcome``."""
        scheduler = self._scheduler
        kind = outcome.kind
        if kind is OutcomeKind.SUCCEEDED:
            return scheduler.finish(job, Event.SUCCEED, outcome, now)
        if job.cancel_requested or kind is OutcomeKind.CANCELLED:
            return scheduler.finish(job, Event.CANCEL, outcome, now)
        if kind is OutcomeKind.RELEASED:
            new = scheduler.apply(job, Event.RELEASE, now, attempt=job.attempt - 1, worker=None)
            scheduler.enqueue(new, first=True)
            return new
        policy = scheduler.policy(job)
        if kind is OutcomeKind.FAILED or not retryable(policy, job.attempt, outcome.code):
            return scheduler.finish(job, Event.FAIL, outcome, now)
        seconds = pause(policy, job.attempt, self._draw(), outcome.retry_after)
        data = _encode({"outcome": kind.value, "code": outcome.code, "message": outcome.message, "after": round(seconds, 3)})
        new = scheduler.apply(job, Event.RETRY, now, data, worker=None, due=now.wall + seconds)
        scheduler.agenda.remind(now.mono + seconds, Errand(job.id, "time"))
        return new
