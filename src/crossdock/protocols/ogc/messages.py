"""The JSON documents of OGC API - Processes 1.0 as frozen types, our extensions among them.

Names follow the standard's spelling on the wire. Everything of ours is in members called ``crossdock``, in resources the
standard does not have, and in the header ``Idempotency-Key``.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, field

Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""An integer that every JSON implementation keeps exact."""


Name = Annotated[str, Meta(min_length=1, max_length=200)]


def _no_inputs() -> Raw:
    return Raw(b"{}")


Status = Literal["accepted", "running", "successful", "failed", "dismissed"]


class Link(Struct, frozen=True, omit_defaults=True):
    """Where something related is."""

    href: str
    rel: str
    type: str = ""
    title: str = ""


class LandingPage(Struct, frozen=True):
    """What is here."""

    title: str
    description: str
    links: list[Link]


class Conformance(Struct, frozen=True, rename="camel"):
    """Which parts of which standards are followed."""

    conforms_to: list[str]


class ProcessSummary(Struct, frozen=True, kw_only=True, rename="camel"):
    """A process as the list shows it."""

    id: str
    version: str
    title: str
    description: str
    job_control_options: list[str]
    output_transmission: list[str]
    links: list[Link]


class Parameter(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One input or output of a process; ``schema`` is a JSON Schema."""

    title: str
    schema: Mapping[str, object]
    description: str = ""
    min_occurs: int = 1


class ProcessDetail(Struct, frozen=True):
    """What we know of a process beyond the standard: a ``raw`` one takes any JSON value, as the input ``payload``."""

    raw: bool


class Process(ProcessSummary, frozen=True, kw_only=True, rename="camel"):
    """A process with its inputs and outputs."""

    inputs: dict[str, Parameter]
    outputs: dict[str, Parameter]
    crossdock: ProcessDetail


class ProcessList(Struct, frozen=True):
    """A page of processes."""

    processes: list[ProcessSummary]
    links: list[Link]


class SubscriberRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where to POST what becomes of a job: the results, the news that it runs, or how it failed."""

    success_uri: str | None = None
    in_progress_uri: str | None = None
    failed_uri: str | None = None


class ArrayRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Members of an array job: the numbers from ``start`` to before ``stop``, or one object of inputs per row."""

    start: Whole = 0
    stop: Whole | None = None
    step: Whole = 1
    name: Annotated[str, Meta(min_length=1, max_length=200)] = field(default="index", name="as")
    table: Raw = field(default_factory=Raw)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The extension member ``crossdock`` of an execute request. Times are RFC 3339 or seconds since 1970.

    ``delay`` is seconds from when the server accepts the job, ``requires`` what a worker has to offer: by name a value, or
    several that all have to be there.
    """

    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    tenant: str | None = None
    not_before: str | float | None = None
    delay: Annotated[float, Meta(ge=0, le=366 * 86400)] | None = None
    after: list[str] = []
    requires: dict[Name, str | list[str]] = {}
    array: ArrayRequest | None = None


class Execute(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An execute request. ``mode`` is not in version 1.0 of the standard, but several clients send it."""

    inputs: Raw = field(default_factory=_no_inputs)
    outputs: dict[str, object] | None = None
    response: Literal["document", "raw"] = "document"
    mode: Literal["sync", "async", "auto"] = "auto"
    subscriber: SubscriberRequest | None = None
    crossdock: Options = Options()


class BatchItem(Execute, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One job of a batch: an execute request, the process it is for, and optionally an idempotency key."""

    process: str
    key: str | None = None


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs to accept together or not at all."""

    jobs: Annotated[list[BatchItem], Meta(min_length=1, max_length=10_000)]


class Counts(Struct, frozen=True):
    """How many members of an array or batch there are, and how they ended."""

    total: int
    succeeded: int
    failed: int
    cancelled: int


class Steps(Struct, frozen=True):
    """Progress in the job's own units; a total of 0 is unknown."""

    done: float
    total: float
    message: str


class Detail(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What we know of a job beyond the standard's status document."""

    state: str
    attempt: int = 0
    priority: int = 0
    tenant: str = ""
    worker: str | None = None
    code: str = ""
    batch: str | None = None
    retry_of: str | None = None
    cancel_requested: bool = False
    why: str = ""
    steps: Steps | None = None
    members: Counts | None = None


class StatusInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of a job."""

    process_id: str = field(name="processID")
    type: str
    job_id: str = field(name="jobID")
    status: Status
    message: str = ""
    created: str | None = None
    started: str | None = None
    finished: str | None = None
    updated: str | None = None
    progress: int
    links: list[Link]
    crossdock: Detail


class JobList(Struct, frozen=True):
    """A page of jobs; a link ``next`` leads to the following one."""

    jobs: list[StatusInfo]
    links: list[Link]


class BatchInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a batch is. ``jobs`` is there in the answer to its submission only."""

    batch_id: str = field(name="batchID")
    members: Counts
    links: list[Link]
    jobs: list[StatusInfo] | None = None


class Cancelled(Struct, frozen=True):
    """How many jobs of a batch were not finished and are cancelled now."""

    cancelled: int


class LogEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of a server-sent event: an entry of a job's log. Its offset is the event's id."""

    offset: int
    at: str
    event: str
    data: object = None


class MemberInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished member of an array, as a line or an element of a listing."""

    index: int
    job_id: str = field(name="jobID")
    status: Status
    attempt: int = 0
    result: object = None
    code: str = ""
    message: str = ""


class WorkerDocument(Struct, frozen=True, kw_only=True, rename="camel"):
    """An attached worker as operators see it."""

    id: str
    description: str
    slots: int
    busy: int
    draining: bool
    kinds: list[str]
    group: str | None
    seen: str
    idle_since: str | None


class WorkerList(Struct, frozen=True):
    """The attached workers."""

    workers: list[WorkerDocument]


class Problem(Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457), which is also the exception of the standard. ``code`` is a word for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
