"""Taking up, at a start, what an earlier process left unfinished."""

from typing import Final

from crossdock.core.agenda import Errand, Now
from crossdock.core.arrays import ArrayRun
from crossdock.core.changes import Pending
from crossdock.core.desk import Desk
from crossdock.core.jobs import Job, Outcome, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.matching import requirement_class
from crossdock.core.outbox import BrokerOutbox
from crossdock.core.policy import Policy, until
from crossdock.core.requests import LOCAL

_PAGE: Final = 5000
_RESTARTED: Final = Outcome(kind=OutcomeKind.LOST, code="lost", message="the server was restarted while the job ran")
_RESUMED: Final = Outcome(kind=OutcomeKind.RELEASED, code="released", message="the server was restarted; the work goes on")


async def recover(desk: Desk, outbox: BrokerOutbox) -> None:
    """Queue every unfinished job of the store, and every notification that is owed."""
    after = 0
    while rows := await desk.store.pending(after, _PAGE):
        now = desk.now()
        special = [row.id for row in rows if row.special]
        for job in await desk.store.jobs(special) if special else ():
            await _take_up(desk, job, now)
        for row in rows:
            if not row.special:
                _queue(desk, row, now)
        after = rows[-1].id
    last = 0
    while notifications := await desk.store.notifications(last, _PAGE):
        outbox.owe(notifications)
        last = notifications[-1].id


def _queue(desk: Desk, row: Pending, now: Now) -> None:
    scheduler = desk.scheduler
    kind = scheduler.kinds.get(row.kind)
    policy = kind.policy if kind is not None else Policy()
    queue_timeout = policy.queue_timeout if row.queue_timeout is None else row.queue_timeout
    total_timeout = policy.total_timeout if row.total_timeout is None else row.total_timeout
    scheduler.agenda.limit(row.id, queue_timeout, total_timeout, now.wall - row.created, now)
    if row.state is State.READY:
        scheduler.ready.push(requirement_class(row.kind, row.requirements), row.priority, row.tenant, row.id)
    else:
        scheduler.agenda.remind(now.mono + until(row.due or 0.0, row.created, now.wall), Errand(row.id, "time"))


async def _take_up(desk: Desk, job: Job, now: Now) -> None:
    """Take up a job that is leased, has members, or waits for others."""
    scheduler = desk.scheduler
    if job.state is State.WAITING and not job.attempt:
        scheduler.dependencies.depend(job.id, job.after)
    if job.array is not None:
        scheduler.shelf.put(job)
        image = await desk.store.array(job.id)
        scheduler.arrays[job.id] = ArrayRun(job.id, job.array, image.segments)
    if job.state is not State.LEASED:
        scheduler.queue(job, now)
        return
    scheduler.agenda.limit(job.id, None, scheduler.policy(job).total_timeout, now.wall - job.created, now)
    if job.array is not None:
        desk.chunks.advance(job, now)
        return
    scheduler.shelf.put(job)
    if (job.worker or "").startswith(LOCAL):
        kind = scheduler.kinds.get(job.kind)
        desk.leases.conclude(job, _RESUMED if kind is not None and kind.resumes else _RESTARTED, now)
    else:
        desk.leases.restore(job, now)
