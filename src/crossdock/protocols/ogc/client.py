"""The blocking client."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar, Unpack

import httpx

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.http.closing import Closing
from crossdock.protocols.ogc import calls
from crossdock.protocols.ogc.calls import Call, EventReader, Options
from crossdock.protocols.ogc.messages import BatchInfo, LogEntry, MemberInfo, ProcessSummary, StatusInfo, WorkerDocument

Answer = TypeVar("Answer")

DEFAULT_URL: Final = "http://127.0.0.1:8080"
TIMEOUT: Final = 30.0
RECONNECT: Final = 1.0
"""Seconds between two tries to take up a broken event stream."""


class Connection(Closing):
    """A server, and the way requests go to it and come back as values or errors.

    Args:
        url: the server's address.
        key: an API key, if it needs one.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise CrossdockError(Code.INVALID, f"{url!r} is no address of a server: {error}") from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[Answer]) -> Answer:
        """Send a request and return its answer.

        Raises:
            CrossdockError: what the server said, or ``unavailable`` if it cannot be reached.
        """
        try:
            response = self._http.request(
                call.method,
                call.path,
                params=list(call.query) or None,
                content=call.content(),
                headers=call.all_headers(),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise calls.unreachable(self.url, error) from error
        return call.read(response.status_code, response.content)

    def upload(self, content: bytes, media_type: str = "application/octet-stream") -> ArtifactRef:
        """Store bytes for a job's payload to name; return the reference to them."""
        return self.send(calls.upload(content, media_type))

    def download(self, ref: ArtifactRef) -> bytes:
        """Return bytes that a job's result names."""
        return self.send(calls.download(ref))

    def stream(self, path: str, reader: EventReader) -> Iterator[LogEntry]:
        """Yield events of one connection to an event stream until it ends or breaks.

        Raises:
            CrossdockError: what the server said.
            httpx.HTTPError: if the connection breaks.
        """
        timeout = httpx.Timeout(TIMEOUT, read=60.0)
        with self._http.stream("GET", path, headers=reader.headers(), timeout=timeout) as response:
            if response.status_code == 204:  # noqa: PLR2004 - HTTP
                reader.ended = True
                return
            if response.is_error:
                calls.refuse(response.status_code, response.read())
            for line in response.iter_lines():
                entry = reader.line(line)
                if entry is not None:
                    yield entry


class Client(Connection):
    """Submits jobs and looks after them. Every method raises :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__(url, key, timeout)
        self._raw: dict[str, bool] = {}

    def processes(self) -> list[ProcessSummary]:
        """Return what can be run."""
        return self.send(calls.processes()).processes

    def submit(self, kind: str, params: object = None, **options: Unpack[Options]) -> StatusInfo:
        """Submit a job; it is on the server's disk on return. ``params`` are its inputs, or any value for raw kinds."""
        return self.send(calls.submit(kind, params, options, raw=self._is_raw(kind)))

    def submit_array(
        self, kind: str, array: Mapping[str, object], params: object = None, **options: Unpack[Options]
    ) -> StatusInfo:
        """Submit one job with many members: ``array`` has ``stop`` (and ``start``, ``step``, ``as``), or a ``table``."""
        return self.send(calls.submit(kind, params, options, raw=self._is_raw(kind), array=array))

    def submit_batch(self, jobs: Iterable[tuple[str, object, Options]]) -> BatchInfo:
        """Submit jobs (kind, parameters, options) in one transaction: all or none."""
        listed = list(jobs)
        raw = {kind: self._is_raw(kind) for kind in {kind for kind, _, _ in listed}}
        return self.send(calls.submit_batch(listed, raw))

    def job(self, identifier: str) -> StatusInfo:
        """Return how far a job is."""
        return self.send(calls.job(identifier))

    def jobs(self, limit: int = 100, **query: object) -> list[StatusInfo]:
        """Return up to ``limit`` jobs, newest first; ``query`` has the parameters of ``/jobs``, like ``status``."""
        page = self.send(calls.jobs({**query, "limit": min(limit, 1000)}))
        found = page.jobs
        while len(found) < limit and (url := calls.next_page(page)) is not None:
            page = self.send(calls.page(url))
            found = found + page.jobs
        return found[:limit]

    def members(self, identifier: str, state: str | None = None) -> list[MemberInfo]:
        """Return the finished members of an array, optionally those in one state."""
        return self.send(calls.members(identifier, state)).members

    def watch(
        self, identifier: str, patience: float = 60.0, pause: Callable[[float], None] = time.sleep
    ) -> Iterator[LogEntry]:
        """Yield a job's log as it grows, until the job has ended.

        A connection that breaks is taken up where it broke off; ``patience`` is how long (seconds) the server may be away.
        """
        reader = EventReader()
        failing_since: float | None = None
        while not reader.ended:
            try:
                for entry in self.stream(calls.events_path(identifier), reader):
                    failing_since = None
                    yield entry
            except (httpx.HTTPError, CrossdockError) as error:
                failing_since = failing_since or time.monotonic()
                persist(self.url, error, time.monotonic() - failing_since, patience)
                reader.broken()
            if not reader.ended:
                pause(RECONNECT)

    def result(self, identifier: str) -> object:
        """Return the value a job gave; of an array, the list of its members' values.

        Raises:
            JobFailedError: the job has failed.
        """
        return self.send(calls.result(identifier)).result

    def cancel(self, identifier: str, mode: str = "cooperative") -> StatusInfo:
        """Cancel a job: ask it to stop, then kill it after its grace period; at once with ``mode="hard"``."""
        return self.send(calls.cancel(identifier, mode))

    def retry(self, identifier: str) -> StatusInfo:
        """Run a failed or cancelled job again, as a new job."""
        return self.send(calls.retry(identifier))

    def workers(self) -> list[WorkerDocument]:
        """Return the attached workers."""
        return self.send(calls.workers()).workers

    def drain(self, worker: str) -> None:
        """Give a worker no more work."""
        self.send(calls.drain(worker))

    def _is_raw(self, kind: str) -> bool:
        if kind not in self._raw:
            self._raw[kind] = self.send(calls.process(kind)).crossdock.raw
        return self._raw[kind]


def persist(url: str, error: Exception, seconds: float, patience: float) -> None:
    """Raise unless the error is one that goes away when one comes back."""
    if isinstance(error, CrossdockError) and error.code is not Code.UNAVAILABLE:
        raise error
    if seconds >= patience:
        raise calls.unreachable(url, error) from error
