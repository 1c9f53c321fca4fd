"""The typed requests and replies that every protocol translates into and from."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from crossdock.core.jobs import ArraySpec, Document, Job, Progress, Requirements, Subscriber
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides


class Record(Struct, frozen=True, gc=False):
    """A small durable fact of a protocol (a token, a frozen flag): ``key`` within ``space``, until ``expires`` (1970 s).

    An artifact that it names by ``digest`` is kept as long as the record.
    """

    space: str
    key: str
    value: bytes
    expires: float | None = None
    digest: str | None = None


class Submit(Struct, frozen=True, gc=False, kw_only=True):
    """A job to be done.

    ``requirements`` need not be sorted. The job waits until ``not_before`` (seconds since 1970), for ``delay`` seconds, and
    for the jobs ``after``. ``key`` makes the submit idempotent within its tenant: a second one returns the first's job.
    ``records`` are stored in the same transaction as the job; ``{job}`` in a value and an empty key become the job's id.
    Those with an empty key are stored for each job that it needs, too.
    """

    kind: str
    payload: Document = b"{}"
    requirements: Requirements = ()
    priority: int = 0
    tenant: str = ""
    not_before: float | None = None
    delay: float | None = None
    after: tuple[int, ...] = ()
    key: str | None = None
    array: ArraySpec | None = None
    overrides: Overrides | None = None
    notify: tuple[Subscriber, ...] = ()
    records: tuple[Record, ...] = ()


class Submitted(Struct, frozen=True, gc=False):
    """The durable answer to a submit. ``existing`` says that the key named a job that was there already."""

    job: Job
    existing: bool = False


class Query(Struct, frozen=True, kw_only=True):
    """Which jobs to list, newest first unless ``ascending``; every given condition has to hold.

    Times are seconds since 1970; durations (of the run so far, or of the whole run) are seconds. ``cursor`` is the id that
    the previous page ended with. ``tenant`` None means all tenants.
    """

    states: tuple[State, ...] = ()
    kinds: tuple[str, ...] = ()
    tenant: str | None = None
    batch: int | None = None
    created_from: float | None = None
    created_to: float | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    code: str | None = None
    cursor: int | None = None
    limit: int = 100
    ascending: bool = False


class Page(Struct, frozen=True):
    """Some jobs of a listing, and the cursor of the next page, None at the end."""

    jobs: tuple[Job, ...]
    cursor: int | None = None


class Entry(Struct, frozen=True, gc=False):
    """One entry of a job's append-only event log: ``offset`` counts from 0, ``data`` is a JSON object or empty.

    ``event`` is ``submitted``, a value of :class:`~crossdock.core.lifecycle.Event`, ``progress``, ``log``, ``step`` or
    ``late``.
    """

    job: int
    offset: int
    at: float
    event: str
    data: bytes = b""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a worker offers: its hardware group, and the values it has of each name (``kind`` among them)."""

    group: str | None = None
    values: Mapping[str, tuple[str, ...]] = {}


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A worker as it introduces itself: ``id`` names this session of it, ``slots`` is how many attempts it runs at once.

    A ``local`` worker lives in the broker's process, so its leases end with that process; its id begins with ``local/``.
    """

    id: str
    slots: int = 1
    capabilities: Capabilities = Capabilities()
    description: str = ""
    local: bool = False


class WorkerView(Struct, frozen=True, kw_only=True):
    """A worker as operators see it; ``idle_since`` and ``seen`` are seconds since 1970."""

    info: WorkerInfo
    leases: tuple[int, ...]
    draining: bool
    seen: float
    idle_since: float | None


class Step(Struct, frozen=True, gc=False):
    """A step of an attempt: the phase it has come to, or the named task in it that reached a state."""

    phase: str
    task: str = ""
    state: str = ""


class Note(Struct, frozen=True, gc=False):
    """What a running attempt says of itself: progress, a line for the job's log, or a step."""

    progress: Progress | None = None
    log: str | None = None
    step: Step | None = None


class Renewal(Struct, frozen=True, gc=False):
    """The answer to a heartbeat: which tokens are still leases, and which of those should stop."""

    alive: tuple[int, ...]
    cancelled: tuple[int, ...]


class Verdict(Struct, frozen=True, gc=False):
    """What became of a report. ``late`` says it came after its lease had ended and changed nothing."""

    late: bool
    state: State | None = None


class MemberView(Struct, frozen=True, gc=False, kw_only=True):
    """A member of an array as a client sees it. ``result`` is there for successes, ``code`` and ``message`` for failures."""

    index: int
    state: State
    attempt: int = 0
    result: Document | None = None
    code: str = ""
    message: str = ""


class Notification(Struct, frozen=True, gc=False, kw_only=True):
    """A message owed to a client, kept until it is delivered.

    ``id`` is stable over repetitions; ``created`` and ``due`` are seconds since 1970. ``event`` is the state in which the
    job ended, or ``demanded``: then the job says whether it has ended.
    """

    id: int
    job: int
    channel: str
    address: str
    event: str
    created: float
    due: float
    attempts: int = 0


DEMANDED: Final = "demanded"
"""The event of a notification that somebody demanded."""
LOCAL: Final = "local/"
"""How the ids of workers begin that live in the broker's process."""

CancelMode = Literal["cooperative", "hard"]
"""Cooperative: ask, then kill after the grace period. Hard: kill at once."""
