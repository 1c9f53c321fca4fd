"""Bugs that the judge has to find: each is planted into the real core for the length of a test."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from crossdock.core import chunks, leases, recovery
from crossdock.core.agenda import Now
from crossdock.core.broker import Broker
from crossdock.core.changes import Group
from crossdock.core.desk import Desk
from crossdock.core.dispatch import BrokerDispatch
from crossdock.core.errors import CrossdockError
from crossdock.core.intake import BrokerIntake
from crossdock.core.jobs import Job, Outcome, OutcomeKind
from crossdock.core.journal import GroupCommit
from crossdock.core.lease_book import LeaseBook
from crossdock.core.leases import Leases
from crossdock.core.lifecycle import Event, State
from crossdock.core.outbox import BrokerOutbox
from crossdock.core.requests import Notification, Verdict
from crossdock.core.scheduler import Scheduler

Patch = pytest.MonkeyPatch


def acknowledge_before_commit(patch: Patch) -> None:
    """A submit is answered when it is in the group, not when it is on disk."""

    async def admit(self: GroupCommit, admission: Any, unmet: Any) -> None:
        self.check()
        self._scheduler.admit(admission, unmet)
        self.kick()

    patch.setattr(GroupCommit, "admit", admit)


def show_ends_before_commit(patch: Patch) -> None:
    """A client is shown the end of a job that is not on disk yet."""

    async def visible(self: Desk, job: int) -> Job:
        found = await self.newest(job)
        if found is None:
            raise CrossdockError("not_found", "no job")  # type: ignore[arg-type]
        return found

    patch.setattr(Desk, "visible", visible)


def notify_before_commit(patch: Patch) -> None:
    """The outbox is told of an end when it happens."""
    owe, open_ = Scheduler.owe, Broker.open

    async def opened(self: Broker) -> None:
        self._scheduler.outbox = self.outbox  # type: ignore[attr-defined]
        await open_(self)

    def early(self: Scheduler, *arguments: Any) -> None:
        owe(self, *arguments)
        self.outbox.owe([self.group.notifications[self.last_notification]])  # type: ignore[attr-defined]

    patch.setattr(Broker, "open", opened)
    patch.setattr(Scheduler, "owe", early)


def no_fencing(patch: Patch) -> None:
    """A success counts whichever lease it is of, while the job has not ended."""
    late = BrokerDispatch._late

    async def unfenced(self: BrokerDispatch, token: int, outcome: Outcome) -> Verdict:
        desk = self._desk
        job_id = desk.leases.job_of(token)
        job = None if job_id is None else await desk.newest(job_id)
        if (
            job is None
            or job.state is not State.LEASED
            or job.array is not None
            or outcome.kind is not OutcomeKind.SUCCEEDED
        ):
            return await late(self, token, outcome)
        desk.leases.revoke(job.id, desk.now())
        return Verdict(late=False, state=desk.scheduler.finish(job, Event.SUCCEED, outcome, desk.now()).state)

    patch.setattr(BrokerDispatch, "_late", unfenced)


def no_idempotency(patch: Patch) -> None:
    """The key of a submit is not looked up."""

    async def find(self: BrokerIntake, tenant: str, key: str) -> None:
        return None

    make = BrokerIntake._make

    async def keyless(self: BrokerIntake, request: Any, batch: int | None) -> Any:
        return await make(self, replace(request, key=None), batch)

    patch.setattr(BrokerIntake, "find", find)
    patch.setattr(BrokerIntake, "_make", keyless)


def leases_forgotten_at_restart(patch: Patch) -> None:
    """A job that was leased when the broker was killed has no lease afterwards that could run out."""
    patch.setattr(Leases, "restore", lambda self, *_: None)


def no_dead_letters(patch: Patch) -> None:
    """What goes wrong is tried again for ever."""
    for module in (leases, chunks):
        patch.setattr(module, "retryable", lambda *_: True)


def leases_by_the_wall_clock(patch: Patch) -> None:
    """Leases end by the clock that people share, which jumps."""

    def by_wall(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            *others, now = arguments
            return method(*others, Now(now.wall, now.wall))

        return wrapped

    for owner, name in ((Leases, "issue"), (Leases, "renew"), (Leases, "restore"), (LeaseBook, "overdue")):
        patch.setattr(owner, name, by_wall(getattr(owner, name)))


def tokens_used_again_after_a_restart(patch: Patch) -> None:
    """Every start counts tokens from the same number."""
    patch.setattr(Leases, "begin", lambda self, epoch: None)


def dependents_lost_at_restart(patch: Patch) -> None:
    """Jobs that waited for others when the broker was killed are not taken up."""
    take_up = recovery._take_up

    async def forgetful(desk: Desk, job: Job, now: Now) -> None:
        if not (job.after and job.state is State.WAITING):
            await take_up(desk, job, now)

    patch.setattr(recovery, "_take_up", forgetful)


def notifications_lost_at_restart(patch: Patch) -> None:
    """What is owed is only known to the process that came to owe it."""
    open_, owe = Broker.open, BrokerOutbox.owe

    async def opened(self: Broker) -> None:
        self.outbox.owe = lambda _: None  # type: ignore[method-assign]
        await open_(self)
        self.outbox.owe = owe.__get__(self.outbox)  # type: ignore[method-assign]

    patch.setattr(Broker, "open", opened)


def delivered_is_not_written(patch: Patch) -> None:
    """A notification that was delivered is not taken off the disk."""

    async def delivered(self: BrokerOutbox, notification: Notification) -> None:
        return None

    patch.setattr(BrokerOutbox, "delivered", delivered)


def notifications_under_new_ids(patch: Patch) -> None:
    """What comes back after it was postponed has another id."""
    postpone = BrokerOutbox.postpone

    async def renamed(self: BrokerOutbox, notification: Notification, seconds: float) -> None:
        self._desk.scheduler.group.delivered.add(notification.id)
        self._desk.scheduler.last_notification += 1
        await postpone(self, replace(notification, id=self._desk.scheduler.last_notification), seconds)

    patch.setattr(BrokerOutbox, "postpone", renamed)


def refused_jobs_run(patch: Patch) -> None:
    """A job whose admission found the disk full is queued all the same."""
    refuse = Scheduler.refuse

    def forgiving(self: Scheduler, admission: Any) -> None:
        refuse(self, admission)
        for job in admission.jobs:
            if job.state is State.READY:
                self.shelf.put(job)
                self.enqueue(job)

    patch.setattr(Scheduler, "refuse", forgiving)


def changes_lost_when_the_disk_was_full(patch: Patch) -> None:
    """What happened to jobs in a group that found the disk full is not written again."""
    patch.setattr("crossdock.core.journal._merged", lambda _old, new: new)


def late_successes_twice(patch: Patch) -> None:
    """A late success ends a job that is being run again, whose runner then ends it once more."""
    late = BrokerDispatch._late

    async def greedy(self: BrokerDispatch, token: int, outcome: Outcome) -> Verdict:
        job_id = self._desk.leases.job_of(token)
        job = None if job_id is None else await self._desk.newest(job_id)
        if job is not None and job.array is None and job.terminal and outcome.kind is OutcomeKind.SUCCEEDED:
            new = replace(job, state=State.SUCCEEDED, result=outcome.result, events=job.events + 1)
            self._desk.scheduler.log(job, Event.SUCCEED.value, self._desk.now(), b"")
            self._desk.scheduler._write(new, frozenset({job.state}))
            return Verdict(late=False, state=State.SUCCEEDED)
        return await late(self, token, outcome)

    patch.setattr(BrokerDispatch, "_late", greedy)


def logs_lose_their_beginning(patch: Patch) -> None:
    """What a snapshot told of the log is not written when the next snapshot does not tell it any more."""
    patch.setattr("crossdock.core.scheduler.continued", lambda _before, entry: [entry])


def half_groups(patch: Patch) -> None:
    """A group is written in two transactions: states first, then the log."""
    run = GroupCommit.__init__

    def split(self: GroupCommit, store: Any, *arguments: Any) -> None:
        class Halves:
            async def commit(self, group: Group) -> None:
                await store.commit(Group(admissions=group.admissions, transitions=group.transitions))
                await asyncio.sleep(0)
                await store.commit(replace(group, admissions=[], transitions={}))

        run(self, Halves(), *arguments)  # type: ignore[arg-type]

    patch.setattr(GroupCommit, "__init__", split)


BUGS: tuple[Callable[[Patch], None], ...] = (
    acknowledge_before_commit,
    show_ends_before_commit,
    notify_before_commit,
    no_fencing,
    no_idempotency,
    leases_forgotten_at_restart,
    no_dead_letters,
    leases_by_the_wall_clock,
    tokens_used_again_after_a_restart,
    dependents_lost_at_restart,
    notifications_lost_at_restart,
    delivered_is_not_written,
    notifications_under_new_ids,
    refused_jobs_run,
    changes_lost_when_the_disk_was_full,
    late_successes_twice,
    logs_lose_their_beginning,
    half_groups,
)
