"""What the core needs from the outside, and what it offers to it, as small protocols in the words of the domain.

Every port has one behavioural suite in ``tests/contracts`` that runs over every implementation.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from crossdock.core.changes import ArrayImage, Block, Boot, Group, Pending
from crossdock.core.jobs import ArtifactRef, Job, Lease, MemberOutcome, Outcome, Requirements, Tally
from crossdock.core.requests import (
    CancelMode,
    Entry,
    MemberView,
    Note,
    Notification,
    Page,
    Query,
    Record,
    Renewal,
    Submit,
    Submitted,
    Verdict,
    WorkerInfo,
    WorkerView,
)


class Clock(Protocol):
    """Two clocks: one that people share and that may jump, one that only goes forward."""

    def wall(self) -> float:
        """Return the seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; leases and timeouts are measured in these."""
        ...


class Signals(Protocol):
    """Wake-ups by topic. Losing one costs latency, never a job: every wait has a timeout after which the truth is read."""

    def notify(self, topic: str) -> None:
        """Wake everybody who waits for ``topic`` now. Waits that begin later are not affected."""
        ...

    async def wait(self, topic: str, timeout: float) -> bool:
        """Wait until ``topic`` is notified, at most ``timeout`` seconds; tell whether it was."""
        ...


class Store(Protocol):
    """The durable image of the broker's state. It decides nothing: it applies groups of changes, and answers queries.

    One broker writes to a store at a time; opening it twice is an error. Methods raise :class:`StoreFull` when there is no
    space and :class:`StoreBroken` when the file can no longer be trusted.
    """

    async def open(self) -> Boot:
        """Lock, migrate and open the store; return what a starting broker needs to know."""
        ...

    async def close(self) -> None:
        """Release everything. Closing twice is harmless."""
        ...

    async def commit(self, group: Group) -> None:
        """Apply all changes of ``group`` or none; durable on return.

        Raises:
            CrossdockError: ``conflict`` if a transition found its job in a state outside its sources; nothing is applied.
        """
        ...

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        """Return up to ``limit`` unfinished jobs with an id above ``after``, in order of id: what a start has to queue."""
        ...

    async def jobs(self, ids: Sequence[int]) -> list[Job]:
        """Return the jobs with these ids in that order, leaving out those that do not exist."""
        ...

    async def by_key(self, tenant: str, key: str) -> int | None:
        """Return the id of the job that the tenant submitted under this idempotency key."""
        ...

    async def search(self, query: Query) -> Page:
        """Return a page of jobs."""
        ...

    async def batch(self, batch: int) -> Tally | None:
        """Return the counts of a batch, None if there is no such batch."""
        ...

    async def entries(self, job: int, start: int, limit: int) -> list[Entry]:
        """Return up to ``limit`` event log entries of a job from offset ``start`` on."""
        ...

    async def array(self, job: int) -> ArrayImage:
        """Return how far the members of an array are."""
        ...

    async def blocks(self, job: int, segment: int) -> list[Block]:
        """Return the blocks of member outcomes of one segment of an array, in the order they were written.

        Gives other tasks a turn, as whoever reads one segment often reads a thousand.
        """
        ...

    async def notifications(self, after: int, limit: int) -> list[Notification]:
        """Return undelivered notifications with an id above ``after``, in order of id."""
        ...

    async def record(self, space: str, key: str) -> Record | None:
        """Return a record, also one that has expired but was not swept yet."""
        ...

    async def expired(self, wall: float, limit: int) -> Sequence[Job]:
        """Return up to ``limit`` finished jobs whose ``expires`` has passed and of which no notification is owed."""
        ...

    async def sweep(self, jobs: Sequence[Job], wall: float) -> list[str]:
        """Delete these jobs with all that hangs on them, and expired records; return digests nothing refers to any more."""
        ...


class Artifacts(Protocol):
    """Immutable bytes by digest. An artifact exists whole or not at all."""

    async def put(self, content: bytes | AsyncIterator[bytes], media_type: str = "application/json") -> ArtifactRef:
        """Store content, streamed when it is an iterator; durable on return. Storing the same bytes again is cheap."""
        ...

    def read(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes ``start`` to ``end`` (exclusive; None: to the end).

        Raises:
            CrossdockError: ``not_found`` if the artifact is not there.
        """
        ...

    async def delete(self, digests: Sequence[str]) -> None:
        """Remove artifacts nothing refers to. Those written in the last hour stay, as a commit may be about to name them."""
        ...


class Intake(Protocol):
    """What frontends drive: the broker as clients see it."""

    async def submit(self, request: Submit) -> Submitted:
        """Accept a job; it is on disk on return.

        Raises:
            CrossdockError: ``invalid``, ``not_found`` (kind, dependency), ``too_large``, ``unavailable``.
        """
        ...

    async def submit_batch(self, requests: Sequence[Submit], tenant: str = "") -> tuple[int, list[Submitted]]:
        """Accept jobs as one batch in one transaction, all or none; return the batch's id and the jobs."""
        ...

    async def cancel(self, job: int, mode: CancelMode = "cooperative") -> Job:
        """Cancel a job (an array with all its members), at once if it is not running; return the job as it is then."""
        ...

    async def cancel_batch(self, batch: int) -> int:
        """Cancel all unfinished jobs of a batch; return how many there were."""
        ...

    async def retry(self, job: int) -> Job:
        """Submit a failed or cancelled job again as a new job with ``retry_of``; of an array, the members that failed.

        Raises:
            CrossdockError: ``conflict`` if the job did not fail, or one that it comes after did.
        """
        ...

    async def job(self, job: int) -> Job:
        """Return a job as it is on disk. Raises ``not_found``."""
        ...

    async def search(self, query: Query) -> Page:
        """Return a page of jobs."""
        ...

    async def batch(self, batch: int) -> Tally:
        """Return how far a batch is. Raises ``not_found``."""
        ...

    async def entries(self, job: int, start: int, limit: int = 1000) -> list[Entry]:
        """Return event log entries of a job from offset ``start`` on."""
        ...

    async def wait(self, job: int, timeout: float) -> Job:
        """Return the job once it has ended, or as it is after ``timeout`` seconds."""
        ...

    async def changed(self, job: int, seen: int, timeout: float) -> Job:
        """Return the job once it has ended or its log has an entry from offset ``seen`` on, or after ``timeout`` seconds."""
        ...

    def members(self, array: int, state: str | None = None, start: int = 0) -> AsyncIterator[MemberView]:
        """Stream the finished members of an array from a position on, in order, optionally only those in one state."""
        ...

    async def member(self, array: int, index: int) -> MemberView:
        """Return one member of an array. Raises ``not_found``."""
        ...


class Dispatch(Protocol):
    """What backends and workers drive: the broker as workers see it."""

    async def attach(self, worker: WorkerInfo, tokens: Sequence[int] = ()) -> Renewal:
        """Introduce a worker, or replace what is known of it; ``tokens`` are leases it still holds from before."""
        ...

    async def detach(self, worker: str) -> None:
        """Forget a worker; what it has leased and not reported is handed back."""
        ...

    async def claim(self, worker: str, limit: int, wait: float = 0.0) -> list[Lease]:
        """Return up to ``limit`` leases, waiting at most ``wait`` seconds for the first. A draining worker gets none.

        Raises:
            CrossdockError: ``not_found`` if the worker is not attached (after a restart of the broker: attach again).
        """
        ...

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        """Say that these leases are alive; learn which are not any more, and which should stop."""
        ...

    async def note(self, token: int, note: Note) -> None:
        """Record what a running attempt says of itself. Of an ended lease it is ignored."""
        ...

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        """End an attempt. The verdict is durable on return."""
        ...

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        """Record outcomes of members of a leased array chunk; the lease ends with the last of them. Durable on return."""
        ...


class Oversight(Protocol):
    """What operators ask: who works here, and why a job does not run."""

    def workers(self) -> list[WorkerView]:
        """Return the attached workers."""
        ...

    def drain(self, worker: str) -> None:
        """Give a worker no more work; what it runs goes on. Raises ``not_found``."""
        ...

    def serves(self, kind: str, requirements: Requirements) -> bool:
        """Tell whether an attached worker, free or not, could take jobs of a kind with these requirements."""
        ...

    def explain(self, job: Job) -> str:
        """Say in a sentence why a job is not running: what it waits for, or which requirement no worker meets."""
        ...


class Records(Protocol):
    """Small durable facts of protocols."""

    async def get(self, space: str, key: str) -> Record | None:
        """Return a record that has not expired."""
        ...

    async def put(self, records: Sequence[Record]) -> None:
        """Write records; durable on return."""
        ...

    async def take(self, space: str, key: str) -> Record | None:
        """Return a record and delete it, so that only one caller ever gets it; durable on return."""
        ...

    def remember(self, record: Record) -> None:
        """Write a record without waiting for it: there at once, and on disk soon. A crash until then loses it."""
        ...

    def forget(self, space: str, key: str) -> None:
        """Delete a record that nobody else knows of: gone at once, and on disk soon. A crash until then brings it back."""
        ...


class Outbox(Protocol):
    """Notifications that are owed."""

    async def claim(self, channel: str, limit: int, wait: float = 0.0) -> list[Notification]:
        """Return due notifications of a channel that nobody else is delivering, waiting at most ``wait`` seconds."""
        ...

    async def delivered(self, notification: Notification) -> None:
        """Forget a notification: its receiver has it."""
        ...

    async def postpone(self, notification: Notification, seconds: float) -> None:
        """Try again later."""
        ...

    async def demand(self, job: int, channel: str, address: str) -> None:
        """Owe a notification about a job once more, or to one receiver more, whether the job has ended or not.

        If that very notification waits for another try it is due now instead. Durable on return; after an error it may be
        owed all the same.

        Raises:
            CrossdockError: ``unavailable``.
        """
        ...


class Runner(Protocol):
    """Executes leases. It knows no protocol and no broker: it is given a lease, says notes, and returns an outcome."""

    async def start(self) -> None:
        """Get ready to run."""
        ...

    async def run(self, lease: Lease, attempt: "Attempt") -> Outcome:
        """Run one attempt to its end. It never raises for what user code does; cancelling the task kills the attempt."""
        ...

    async def stop(self) -> None:
        """End every process that was started."""
        ...


class Attempt(Protocol):
    """What a runner may say and ask while it runs an attempt."""

    def note(self, note: Note) -> None:
        """Pass on progress, a log line or a step; cheap, never blocks."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...

    async def wait_cancelled(self) -> None:
        """Return once the attempt is asked to stop."""
        ...

    async def member(self, outcome: MemberOutcome) -> None:
        """Pass on the outcome of one member of a leased chunk."""
        ...

    def when_reported(self, call: Callable[[bool], None]) -> None:
        """Have this called when it is settled what became of the members passed on so far, or of the outcome that follows.

        It is told whether the broker has taken note, so that nobody need know it any more. If the process ends before that,
        it is not called.
        """
        ...
