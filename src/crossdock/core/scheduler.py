"""The state machine over all unfinished jobs: no I/O, no clock, no waiting.

Every method is given the time, changes what is in memory, and adds what has to be on disk to ``group``. The broker commits
groups and then calls :meth:`Scheduler.settled`; until then nothing of a group may be shown to a client.

What happens to one job goes through :meth:`Scheduler.apply`, which asks the lifecycle table. Leases are in ``leases.py``,
the members of arrays in ``arrays.py``, what comes with time in ``agenda.py``.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from crossdock.core.agenda import Agenda, Errand, Now
from crossdock.core.arrays import ArrayRun
from crossdock.core.changes import Admission, Group, Transition
from crossdock.core.dependencies import Dependencies
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.fleet import Fleet
from crossdock.core.jobs import Job, Outcome, OutcomeKind, Requirements, Tally
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import TERMINAL, Event, State, sources, target
from crossdock.core.log import continued, details, tells
from crossdock.core.matching import class_of
from crossdock.core.needs import needed_jobs
from crossdock.core.newcomers import Newcomers
from crossdock.core.policy import Policy, until
from crossdock.core.ready import ReadyQueue
from crossdock.core.requests import Entry, Notification
from crossdock.core.shelf import Shelf


class Scheduler:
    """What a broker knows about unfinished jobs.

    Args:
        kinds: the kinds of this broker; jobs of other kinds get the default policy.
        weights: the shares of tenants.
        wake: called with a worker's id when there is a job for it.
    """

    def __init__(self, kinds: Mapping[str, Kind], weights: Mapping[str, float], wake: Callable[[str], None]) -> None:
        self.kinds = kinds
        self.shelf = Shelf()
        self.ready = ReadyQueue(weights)
        self.fleet = Fleet()
        self.group = Group()
        self.arrays: dict[int, ArrayRun] = {}
        self.transit: set[int] = set()
        """Jobs that were taken from the ready queue and are being read before they are leased."""
        self.newcomers = Newcomers()
        self.leaving: set[int] = set()
        """Jobs that are being deleted: nothing can happen to them any more."""
        self.finished: dict[tuple[str, State], int] = {}
        self.agenda = Agenda()
        self.dependencies = Dependencies(self.agenda)
        self.last_notification = 0
        self._wake = wake

    def policy(self, job: Job) -> Policy:
        """Return the policy that holds for a job."""
        kind = self.kinds.get(job.kind)
        policy = kind.policy if kind is not None else Policy()
        return policy if job.overrides is None else job.overrides.apply(policy)

    # Admission

    def admit(self, admission: Admission, unmet: Mapping[int, tuple[int, ...]]) -> None:
        """Add new jobs to the group; ``unmet`` names for each job the unfinished ones it waits for."""
        self.group.admissions.append(admission)
        for job in admission.jobs:
            self.shelf.put(job)
            self.newcomers.jobs.add(job.id)
            self.dependencies.depend(job.id, unmet.get(job.id, ()))

    def refuse(self, admission: Admission) -> None:
        """Forget jobs whose admission could not be written."""
        for job in admission.jobs:
            self.shelf.drop(job.id)
            self.newcomers.leave(job)
            self.dependencies.forget(job.id)

    def queue(self, job: Job, now: Now) -> None:
        """Put an unfinished job that is on disk where it waits: for a time, for other jobs, or for a worker."""
        policy = self.policy(job)
        queue_timeout = None if job.attempt else policy.queue_timeout
        if queue_timeout is not None or policy.total_timeout is not None:
            self.agenda.limit(job.id, queue_timeout, policy.total_timeout, now.wall - job.created, now)
        if job.array is not None and job.id not in self.arrays:
            self.arrays[job.id] = ArrayRun(job.id, job.array)
        if job.state is State.READY:
            self.enqueue(job)
            return
        if job.due is not None:
            self.agenda.remind(now.mono + until(job.due, job.created, now.wall), Errand(job.id, "time"))
        if self.dependencies.blocked(job.id):
            self.agenda.add((Errand(job.id, "dependencies"),))
        elif job.due is None:
            self.agenda.add((Errand(job.id, "parents"),))

    def enqueue(self, job: Job, *, first: bool = False) -> None:
        """Queue a ready job, or an array with members to do, and wake a worker for it."""
        run = self.arrays.get(job.id)
        if run is not None:
            run.queued = True
        requirements = class_of(job)
        self.ready.push(requirements, job.priority, job.tenant, job.id, first=first)
        if (worker := self.fleet.wake(requirements)) is not None:
            self._wake(worker)

    def rouse(self, classes: Iterable[Requirements]) -> None:
        """Wake a worker for each of these classes that has jobs."""
        for requirements in classes:
            if self.ready.size(requirements) and (worker := self.fleet.wake(requirements)) is not None:
                self._wake(worker)

    # What happens to a job

    def apply(self, job: Job, event: Event, now: Now, data: bytes = b"", entry: str | None = None, **changes: object) -> Job:
        """Let ``event`` happen to a job; return its new snapshot. ``entry`` names it in the log, if not the event itself.

        Raises:
            CrossdockError: ``conflict`` if the event cannot happen in the job's state.
        """
        state = target(job.state, event)
        if state is None:
            raise CrossdockError(Code.CONFLICT, f"a job that is {job.state} cannot become {event}")
        new = replace(job, state=state, events=job.events + 1, **changes)
        self._write(new, sources(event))
        if not tells(new):
            text = data or details(new, event)
            self.group.entries += continued(job, Entry(job.id, job.events, now.wall, entry or event, text))
        return new

    def log(self, job: Job, entry: str, now: Now, data: bytes) -> None:
        """Add to the log of a job, whatever its state, without anything happening to it."""
        self._write(replace(job, events=job.events + 1), frozenset({job.state}))
        self.group.entries += continued(job, Entry(job.id, job.events, now.wall, entry, data))

    def _write(self, job: Job, allowed: frozenset[State]) -> None:
        earlier = self.group.transitions.get(job.id)
        self.group.transitions[job.id] = Transition(job, allowed if earlier is None else earlier.sources)
        self.shelf.put(job)

    def finish(self, job: Job, event: Event, outcome: Outcome, now: Now) -> Job:
        """End a job for good: its last snapshot, its log, its batch, its notifications, and those that wait for it."""
        run = self.arrays.pop(job.id, None)
        if job.id in self.transit:
            self.transit.discard(job.id)
        elif job.state is State.READY if run is None else run.queued:
            self.ready.remove(class_of(job), job.id)
        if run is not None:
            run.cancel_rest()
        new = self.apply(
            job,
            event,
            now,
            finished=now.wall,
            expires=now.wall + self.policy(job).keep,
            outcome=outcome.kind if event is not Event.CANCEL else OutcomeKind.CANCELLED,
            code=outcome.code,
            message=outcome.message,
            result=outcome.result,
            tally=run.tally if run is not None else None,
        )
        self._count(new)
        self.agenda.release(job.id)
        self.dependencies.forget(job.id)
        if job.needs and job.state is State.WAITING and not job.attempt:
            self.agenda.add(Errand(needed, "unneeded") for needed in needed_jobs(job))
        for subscriber in job.notify:
            if new.state.value in subscriber.on:
                self.owe(new.id, subscriber.channel, subscriber.address, new.state.value, now)
        return new

    def owe(self, job: int, channel: str, address: str, event: str, now: Now) -> None:
        """Put a notification into the outbox, in the same transaction as what it tells."""
        self.last_notification += 1
        notification = Notification(
            id=self.last_notification,
            job=job,
            channel=channel,
            address=address,
            event=event,
            created=now.wall,
            due=now.wall,
        )
        self.group.notifications[notification.id] = notification

    def _count(self, job: Job) -> None:
        key = (job.kind, job.state)
        self.finished[key] = self.finished.get(key, 0) + 1
        if job.batch is not None:
            state = job.state
            ended = Tally(0, state is State.SUCCEEDED, state is State.FAILED, state is State.CANCELLED)
            self.group.add_tally(job.batch, ended)

    # After a commit

    def swap(self) -> Group:
        """Return the group to commit and begin a new one."""
        group, self.group = self.group, Group()
        return group

    def settled(self, group: Group, now: Now) -> None:
        """Let what is on disk now have its effects."""
        for admission in group.admissions:
            for job in admission.jobs:
                self.newcomers.leave(job)
                self.queue(job, now)
                if job.id not in self.group.transitions and job.id not in self.arrays:
                    self.shelf.retire(job.id)
        for transition in group.transitions.values():
            job = transition.job
            if job.id in self.group.transitions or (job.array is not None and job.state not in TERMINAL):
                continue
            if job.state is not State.LEASED:
                self.shelf.retire(job.id)
            if job.state in TERMINAL:
                good = job.state is State.SUCCEEDED
                self.dependencies.ended(job.id, succeeded=good, entering=self.newcomers.jobs)
