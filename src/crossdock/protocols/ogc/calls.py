"""What the clients say and understand, as values: requests to send and how to read their answers. No input or output."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypedDict, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.http.problems import ProblemError, read_problem
from crossdock.protocols.ogc.messages import (
    BatchInfo,
    Cancelled,
    JobList,
    LogEntry,
    MemberInfo,
    Process,
    ProcessList,
    StatusInfo,
    WorkerList,
)

Answer = TypeVar("Answer")

ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
"""Log entries after which nothing happens to a job any more."""


class Options(TypedDict, total=False):
    """What a submit may say beyond kind and parameters.

    ``not_before`` is RFC 3339 text or seconds since 1970; ``delay`` is seconds from when the server has the job; ``after``
    are ids of jobs that have to succeed first; ``requires`` are values that a worker has to offer, by name; ``key`` is the
    idempotency key; ``subscriber`` has ``successUri``, ``inProgressUri`` and ``failedUri``.
    """

    priority: int
    tenant: str | None
    not_before: str | float | None
    delay: float | None
    after: Sequence[str]
    requires: Mapping[str, Sequence[str]]
    key: str | None
    subscriber: Mapping[str, str]


class Call(Struct, Generic[Answer], frozen=True, kw_only=True):
    """A request, and the type of its answer."""

    method: str
    path: str
    answer: type[Answer]
    query: tuple[tuple[str, str], ...] = ()
    body: object = None
    headers: dict[str, str] = {}

    def content(self) -> bytes | None:
        """Return the body: bytes as they are, anything else as JSON text."""
        return self.body if self.body is None or isinstance(self.body, bytes) else msgspec.json.encode(self.body)

    def all_headers(self) -> dict[str, str]:
        """Return the headers, that of the body's type included."""
        return self.headers if self.body is None else {"content-type": "application/json", **self.headers}

    def read(self, status: int, body: bytes) -> Answer:
        """Return the answer.

        Raises:
            CrossdockError: what the server said, or ``internal`` if it cannot be understood.
        """
        refuse(status, body)
        if self.answer is type(None):
            return None  # type: ignore[return-value]
        if self.answer is bytes:
            return body  # type: ignore[return-value]
        try:
            return msgspec.json.decode(body, type=self.answer)
        except msgspec.DecodeError as error:
            raise CrossdockError(Code.INTERNAL, f"the server's answer cannot be understood: {error}") from None


class JobFailedError(CrossdockError):
    """The job whose result was asked for has failed. ``job_code`` is the code it failed with, ``outcome`` how."""

    def __init__(self, message: str, job_code: str, outcome: str) -> None:
        super().__init__(Code.INTERNAL, message)
        self.job_code = job_code
        self.outcome = outcome


class Results(Struct, frozen=True):
    """A results document."""

    result: object


def refuse(status: int, body: bytes) -> None:
    """Raise what an answer of 400 or more says."""
    if status < 400:  # noqa: PLR2004 - HTTP
        return
    error = read_problem(status, body)
    job = error.members.get("job") if isinstance(error, ProblemError) else None
    if isinstance(job, dict):
        known = cast("dict[str, object]", job)
        raise JobFailedError(error.message, str(known.get("code", "")), str(known.get("outcome", "")))
    raise error


def unreachable(url: str, error: Exception) -> CrossdockError:
    """Return the error for a server that does not answer."""
    return CrossdockError(Code.UNAVAILABLE, f"{url} cannot be reached: {error or type(error).__name__}")


def processes() -> Call[ProcessList]:
    """Ask what can be run."""
    return Call(method="GET", path="/processes", query=(("limit", "1000"),), answer=ProcessList)


def process(kind: str) -> Call[Process]:
    """Ask what a process is."""
    return Call(method="GET", path=f"/processes/{_part(kind)}", answer=Process)


def submit(
    kind: str, params: object, options: Options, *, raw: bool, array: Mapping[str, object] | None = None
) -> Call[StatusInfo]:
    """Submit a job, or an array of them."""
    headers = {"prefer": "respond-async"}
    key = options.get("key")
    if key is not None:
        headers["idempotency-key"] = key
    body = _execute(params, options, raw=raw)
    if array is not None:
        body["crossdock"] = {**body.get("crossdock", {}), "array": array}
    path = f"/processes/{_part(kind)}/execution"
    return Call(method="POST", path=path, body=body, headers=headers, answer=StatusInfo)


def submit_batch(jobs: Iterable[tuple[str, object, Options]], raw: Mapping[str, bool]) -> Call[BatchInfo]:
    """Submit many jobs in one transaction; ``raw`` says of every kind whether it is."""
    items: list[dict[str, Any]] = []
    for kind, params, options in jobs:
        item = {"process": kind, **_execute(params, options, raw=raw[kind])}
        if options.get("key") is not None:
            item["key"] = options.get("key")
        items.append(item)
    return Call(method="POST", path="/batches", body={"jobs": items}, answer=BatchInfo)


def batch(identifier: str) -> Call[BatchInfo]:
    """Ask how far a batch is."""
    return Call(method="GET", path=f"/batches/{_part(identifier)}", answer=BatchInfo)


def cancel_batch(identifier: str) -> Call[Cancelled]:
    """Cancel a batch."""
    return Call(method="DELETE", path=f"/batches/{_part(identifier)}", answer=Cancelled)


def job(identifier: str) -> Call[StatusInfo]:
    """Ask how far a job is."""
    return Call(method="GET", path=f"/jobs/{_part(identifier)}", answer=StatusInfo)


def jobs(query: Mapping[str, object]) -> Call[JobList]:
    """List jobs; ``query`` has the parameters of ``/jobs``, those that are None are left out."""
    given = tuple((name, str(value)) for name, value in query.items() if value is not None)
    return Call(method="GET", path="/jobs", query=given, answer=JobList)


def page(url: str) -> Call[JobList]:
    """Ask for the page that a link leads to."""
    parts = urlsplit(url)
    return Call(method="GET", path=parts.path, query=tuple(parse_qsl(parts.query)), answer=JobList)


def next_page(listed: JobList) -> str | None:
    """Return the URL of the page after this one, None at the end."""
    return next((link.href for link in listed.links if link.rel == "next"), None)


def members(identifier: str, state: str | None) -> Call["Members"]:
    """List the finished members of an array."""
    query = (("state", state),) if state else ()
    return Call(method="GET", path=f"/jobs/{_part(identifier)}/members", query=query, answer=Members)


def result(identifier: str) -> Call[Results]:
    """Ask for a job's result."""
    return Call(method="GET", path=f"/jobs/{_part(identifier)}/results", answer=Results)


def cancel(identifier: str, mode: str) -> Call[StatusInfo]:
    """Cancel a job."""
    return Call(method="DELETE", path=f"/jobs/{_part(identifier)}", query=(("mode", mode),), answer=StatusInfo)


def retry(identifier: str) -> Call[StatusInfo]:
    """Run a dead job again."""
    return Call(method="POST", path=f"/jobs/{_part(identifier)}/retry", answer=StatusInfo)


def workers() -> Call[WorkerList]:
    """List the workers."""
    return Call(method="GET", path="/workers", answer=WorkerList)


def drain(worker: str) -> Call[None]:
    """Drain a worker."""
    return Call(method="POST", path=f"/workers/{_part(worker)}/drain", answer=type(None))


def upload(content: bytes, media_type: str) -> Call[ArtifactRef]:
    """Store bytes that a payload is going to name."""
    headers = {"content-type": media_type}
    return Call(method="POST", path="/artifacts", body=content, headers=headers, answer=ArtifactRef)


def download(ref: ArtifactRef) -> Call[bytes]:
    """Ask for the bytes that a result names."""
    query = (("size", str(ref.size)),)
    return Call(method="GET", path=f"/artifacts/{_part(ref.digest)}", query=query, answer=bytes)


def events_path(identifier: str) -> str:
    """Return the path of a job's event stream."""
    return f"/jobs/{_part(identifier)}/events"


class Members(Struct, frozen=True):
    """A listing of an array's members."""

    members: list[MemberInfo]


class EventReader:
    """Puts the lines of an event stream together. ``last`` is the id of the newest event, to resume after it."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.ended = False
        self._data: list[str] = []

    def headers(self) -> dict[str, str]:
        """Return the headers to ask for the stream with, from where it broke off."""
        resume = {} if self.last is None else {"last-event-id": str(self.last)}
        return {"accept": "text/event-stream", **resume}

    def line(self, text: str) -> LogEntry | None:
        """Take a line; return an event once it is complete. What has been seen already is dropped."""
        if text.startswith("data:"):
            self._data.append(text[5:].removeprefix(" "))
            return None
        if text or not self._data:
            return None
        data, self._data = "\n".join(self._data), []
        try:
            entry = msgspec.json.decode(data, type=LogEntry)
        except msgspec.DecodeError as error:
            raise CrossdockError(Code.INTERNAL, f"an event cannot be understood: {error}") from None
        if self.last is not None and entry.offset <= self.last:
            return None
        self.last = entry.offset
        self.ended = self.ended or entry.event in ENDED
        return entry

    def broken(self) -> None:
        """Forget half an event: the connection broke."""
        self._data = []


def _execute(params: object, options: Options, *, raw: bool) -> dict[str, Any]:
    names = ("priority", "tenant", "not_before", "delay", "after", "requires")
    extension = {name: options.get(name) for name in names if options.get(name) is not None}
    body: dict[str, Any] = {"inputs": {"payload": params} if raw else params if params is not None else {}}
    if extension:
        body["crossdock"] = extension
    if options.get("subscriber") is not None:
        body["subscriber"] = options.get("subscriber")
    return body


def _part(text: str) -> str:
    return quote(text, safe="")
