"""What time brings about: leases that run out, delays and timeouts that end, jobs whose parents have ended."""

from crossdock.core.agenda import Errand, Now
from crossdock.core.cancelling import cancel_unneeded
from crossdock.core.desk import Desk
from crossdock.core.jobs import Job, Outcome, OutcomeKind
from crossdock.core.lease_book import LeaseRecord
from crossdock.core.lifecycle import Event, State
from crossdock.core.matching import class_of
from crossdock.core.needs import failure
from crossdock.core.policy import until

_REASONS = {
    OutcomeKind.LOST: ("lost", "the worker gave no sign of life for longer than the lease"),
    OutcomeKind.TIMED_OUT: ("timeout", "the attempt took longer than its timeout"),
    OutcomeKind.CANCELLED: ("cancelled", "the worker did not stop within the grace period"),
}


def end_overdue(desk: Desk, now: Now) -> None:
    """End the leases whose time has run out."""
    for record, kind in desk.leases.book.overdue(now):
        _expire(desk, record, kind, now)


def _expire(desk: Desk, record: LeaseRecord, kind: OutcomeKind, now: Now) -> None:
    code, message = _REASONS[kind]
    outcome = Outcome(kind=kind, code=code, message=message)
    if record.chunk is not None:
        desk.chunks.close(record, outcome, now)
        return
    desk.leases.end(record, now)
    job = desk.scheduler.shelf.get(record.job)
    if job is not None:
        desk.leases.conclude(job, outcome, now)


async def run_errand(desk: Desk, errand: Errand) -> None:
    """Do what is due for one job, if it still is."""
    parent = await desk.newest(errand.index) if errand.what == "dependency_failed" else None
    job = await desk.newest(errand.job)
    if job is None or job.terminal:
        return
    if errand.what == "dependencies":
        await _look_at_parents(desk, job)
    elif errand.what == "dependency_failed":
        if job.state is State.WAITING:
            _fail(desk, job, *failure(job, parent), desk.now())
    else:
        _run(desk, job, errand, desk.now())


def _run(desk: Desk, job: Job, errand: Errand, now: Now) -> None:
    if errand.what == "member":
        desk.chunks.resume(job, errand.index, now)
    elif errand.what in {"time", "parents", "ready"}:
        _begin(desk, job, errand.what, now)
    elif errand.what == "queue_timeout" and job.attempt == 0:
        _fail(desk, job, "queue_timeout", "no worker took the job in time", now)
    elif errand.what == "unneeded":
        cancel_unneeded(desk, job, now)
    elif errand.what == "unroutable":
        _strand(desk, job, now)
    elif errand.what == "total_timeout":
        desk.leases.revoke(job.id, now)
        _fail(desk, job, "total_timeout", "the job did not end in time", now)


async def _look_at_parents(desk: Desk, job: Job) -> None:
    """Find out which parents ended before this job was there to be told. One that is gone had its time, so it succeeded."""
    parents = {parent.id: parent for parent in await desk.store.jobs(job.after)}
    for parent_id in job.after:
        parent = parents.get(parent_id)
        if parent is None or parent.terminal:
            desk.scheduler.dependencies.release(
                job.id, parent_id, succeeded=parent is None or parent.state is State.SUCCEEDED
            )


def _begin(desk: Desk, job: Job, reason: str, now: Now) -> None:
    """Queue a ready job again that could not be leased, and make a waiting one ready.

    Not if it has something else to wait for, which then comes as an errand of its own.
    """
    if reason == "ready":
        _requeue(desk, job, now)
        return
    if job.state is not State.WAITING or desk.scheduler.dependencies.blocked(job.id):
        return
    if reason == "parents" and job.due is not None and (left := until(job.due, job.created, now.wall)):
        desk.scheduler.agenda.remind(now.mono + left, Errand(job.id, "time"))
        return
    desk.scheduler.enqueue(desk.scheduler.apply(job, Event.DUE, now, due=None))


def _requeue(desk: Desk, job: Job, now: Now) -> None:
    desk.scheduler.transit.discard(job.id)
    if job.id in desk.scheduler.arrays:
        desk.scheduler.arrays[job.id].queued = False
        desk.chunks.advance(job, now)
    elif job.state is State.READY:
        desk.scheduler.enqueue(job, first=True)


def _strand(desk: Desk, job: Job, now: Now) -> None:
    """Fail a job that has waited long enough, unless a worker for it has come meanwhile."""
    timeout = desk.scheduler.policy(job).unroutable_timeout
    requirements = class_of(job)
    if job.state is not State.READY or timeout is None or desk.scheduler.fleet.learn(requirements):
        return
    if now.wall - job.created >= timeout:
        missing = desk.scheduler.fleet.explain(requirements)
        _fail(desk, job, "unroutable", f"no worker could take the job for {timeout:g} s: {missing}", now)


def _fail(desk: Desk, job: Job, code: str, message: str, now: Now) -> None:
    desk.scheduler.finish(job, Event.FAIL, Outcome(kind=OutcomeKind.FAILED, code=code, message=message), now)
