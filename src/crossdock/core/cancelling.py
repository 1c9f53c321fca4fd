"""Cancelling a job: at once if it is not running, else its worker is asked to stop."""

from typing import Final

from crossdock.core.agenda import Now
from crossdock.core.desk import Desk
from crossdock.core.jobs import Job, Outcome, OutcomeKind
from crossdock.core.lifecycle import Event, State
from crossdock.core.requests import CancelMode

_CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED)
_UNNEEDED: Final = Outcome(kind=OutcomeKind.CANCELLED, message="the job that needed this one has ended")


def cancel(desk: Desk, job: Job, mode: CancelMode, now: Now, outcome: Outcome = _CANCELLED) -> None:
    """Cancel a job, of which this is the newest snapshot; one that has ended stays as it is."""
    if job.terminal:
        return
    if job.state is not State.LEASED:
        desk.scheduler.finish(job, Event.CANCEL, outcome, now)
        return
    if not job.cancel_requested:
        job = desk.scheduler.apply(job, Event.REQUEST_CANCEL, now, cancel_requested=True)
    if mode == "hard":
        desk.leases.revoke(job.id, now)
        desk.scheduler.finish(job, Event.CANCEL, outcome, now)
        return
    desk.leases.request_cancel(job.id, now, desk.scheduler.policy(job).grace)
    if job.id in desk.scheduler.arrays:
        desk.chunks.advance(job, now)


def cancel_unneeded(desk: Desk, job: Job, now: Now) -> None:
    """Cancel a job that was needed by one that has ended, unless another job waits for it too."""
    if not desk.scheduler.dependencies.wanted(job.id):
        cancel(desk, job, "cooperative", now, _UNNEEDED)
