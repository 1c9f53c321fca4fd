"""What a job is: immutable snapshots, replaced as a whole when something happens.

The core never looks into payloads and results: they are JSON text (bytes), or an :class:`ArtifactRef` once they are large.
Times named ``created``, ``finished`` and so on are seconds since 1970; durations are seconds.
"""

from enum import StrEnum

from msgspec import Struct

from crossdock.core.lifecycle import TERMINAL, State
from crossdock.core.policy import Overrides

Requirements = tuple[tuple[str, str], ...]
"""A canonical (sorted) multiset of name=value; equal tuples are one requirement class."""


class ArtifactRef(Struct, frozen=True, gc=False):
    """Immutable bytes at rest, named by their SHA-256 digest (64 hexadecimal digits)."""

    digest: str
    size: int
    media_type: str = "application/json"


Document = bytes | ArtifactRef
"""JSON text, or where it lies."""


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the job's own fault: never retried
    ERRORED = "errored"  # ours, the code's or the machine's: retried
    LOST = "lost"  # no heartbeat: retried
    TIMED_OUT = "timed_out"  # the attempt took too long: retried
    CANCELLED = "cancelled"
    RELEASED = "released"  # handed back unstarted: does not count as an attempt


class Outcome(Struct, frozen=True, gc=False, kw_only=True):
    """The end of an attempt, as a worker reports it or the broker finds it.

    ``retry_after`` overrides the back-off of the policy (seconds). ``code`` is a short word for programs.
    """

    kind: OutcomeKind
    result: Document | None = None
    code: str = ""
    message: str = ""
    retry_after: float | None = None


class Progress(Struct, frozen=True, gc=False):
    """How far an attempt is: ``done`` of ``total`` units (total 0 = unknown) and a text for people."""

    done: float
    total: float = 0
    message: str = ""


class Subscriber(Struct, frozen=True, gc=False):
    """Who is owed a notification when the job ends: a channel (a deliverer's name) and an address it understands."""

    channel: str
    address: str
    on: tuple[str, ...] = ("succeeded", "failed", "cancelled")


class ArraySpec(Struct, frozen=True, gc=False, kw_only=True):
    """A job that stands for ``count`` members: its payload is a template, each member adds its own parameters.

    Without a table member ``i`` gets the parameter ``name`` = ``start + i * step``; with one, the members of row ``i``.
    """

    count: int
    name: str = "index"
    start: int = 0
    step: int = 1
    table: Document | None = None


class Tally(Struct, frozen=True, gc=False):
    """How many members of a batch or array there are and how they ended."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def finished(self) -> int:
        """The number of members in a terminal state."""
        return self.succeeded + self.failed + self.cancelled


class Job(Struct, frozen=True, gc=False, kw_only=True):
    """A snapshot of a job.

    The first group of fields never changes after the submit; the second changes with events. ``token`` is the newest
    fencing token issued for the job, 0 before the first lease. ``events`` is the offset of the next event log entry.
    ``needs`` are the members of the payload that the results of the last jobs in ``after`` become.
    """

    id: int
    kind: str
    payload: Document
    created: float
    requirements: Requirements = ()
    priority: int = 0
    tenant: str = ""
    not_before: float | None = None
    after: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    key: str | None = None
    batch: int | None = None
    retry_of: int | None = None
    array: ArraySpec | None = None
    overrides: Overrides | None = None
    notify: tuple[Subscriber, ...] = ()

    state: State = State.READY
    attempt: int = 0
    token: int = 0
    worker: str | None = None
    due: float | None = None
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    outcome: OutcomeKind | None = None
    code: str = ""
    message: str = ""
    result: Document | None = None
    progress: Progress | None = None
    tally: Tally | None = None
    cancel_requested: bool = False
    events: int = 1

    @property
    def terminal(self) -> bool:
        """Whether the job has ended for good."""
        return self.state in TERMINAL


class Members(Struct, frozen=True, gc=False, kw_only=True):
    """The members of an array that one lease covers: positions, and the parameters each adds to the template.

    ``attempts`` are the numbers of their attempts, left out if it is the first of all.
    """

    indexes: tuple[int, ...]
    parameters: tuple[dict[str, object], ...]
    attempts: tuple[int, ...] = ()


class Lease(Struct, frozen=True, gc=False, kw_only=True):
    """An exclusive, expiring claim on one attempt, as a worker gets it.

    ``token`` is the fencing token that every report has to carry. ``length`` is how long (seconds) the lease lasts without
    a renewal, ``timeout`` how long the attempt may take, ``grace`` how long a cancelled attempt may go on before it is
    killed. ``inputs`` are the results of the jobs this one was submitted ``after``, in that order; the last of them become
    the members ``needs`` of the payload.
    """

    job: int
    token: int
    attempt: int
    kind: str
    payload: Document
    length: float
    timeout: float | None = None
    grace: float = 5.0
    tenant: str = ""
    inputs: tuple[Document | None, ...] = ()
    needs: tuple[str, ...] = ()
    members: Members | None = None


class MemberOutcome(Struct, frozen=True, gc=False, kw_only=True):
    """How one member of a leased array chunk ended."""

    index: int
    outcome: Outcome
