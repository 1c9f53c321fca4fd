"""Evaluations over our own HTTP API, with the client of that API: the same three verbs as the ReCodEx clients have."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.core.requests import Step
from crossdock.protocols.recodex.client.calls import requirements
from crossdock.protocols.recodex.client.config import JobConfig
from crossdock.protocols.recodex.client.packing import Submission, read_submission
from crossdock.protocols.recodex.client.results import ARCHIVE_BYTES, read_result_document
from crossdock.protocols.recodex.client.verdict import Verdict, judge
from crossdock.protocols.recodex.messages import EVALUATION, Pair

Found = TypeVar("Found")

_STEP: Final = "step"


class _Job(Protocol):
    @property
    def job_id(self) -> str: ...


class _Entry(Protocol):
    @property
    def event(self) -> str: ...
    @property
    def data(self) -> object: ...


class Server(Protocol):
    """What is used of :class:`crossdock.Client`."""

    def upload(self, content: bytes, media_type: str = ...) -> ArtifactRef:
        """Store bytes."""
        ...

    def download(self, ref: ArtifactRef) -> bytes:
        """Return bytes."""
        ...

    def submit(self, kind: str, params: object = None, *, requires: Mapping[str, Sequence[str]] = ...) -> _Job:
        """Submit a job."""
        ...

    def watch(self, identifier: str) -> Iterator[_Entry]:
        """Yield a job's log until it has ended."""
        ...

    def result(self, identifier: str) -> object:
        """Return a job's result."""
        ...


class NativeHandle(Struct, frozen=True):
    """A job that was accepted."""

    id: str
    config: JobConfig


class _Result(Struct, frozen=True):
    results: Any
    archive: ArtifactRef | None = None


class NativeEvaluations:
    """Submits evaluations and looks after them. Its methods raise :class:`~crossdock.core.errors.CrossdockError`.

    Args:
        server: a client of the server's HTTP API, ``crossdock.Client("http://HOST:PORT")``.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def submit(self, source: Path | str | Submission, headers: Sequence[Pair] = ()) -> NativeHandle:
        """Send a directory or an archive, with a ``job-config.yml`` at the root, as a job of kind ``evaluation``.

        Args:
            source: what to submit.
            headers: what the worker has to offer; without ``hwgroup`` among them, that of the configuration is asked for.

        Raises:
            CrossdockError: ``invalid`` or ``too_large`` for what cannot be submitted, and what the server says.
        """
        submission = source if isinstance(source, Submission) else read_submission(Path(source))
        archive = self._server.upload(submission.zipped(), "application/zip")
        payload = {"submission": msgspec.to_builtins(archive), "result_url": None}
        requires: dict[str, list[str]] = {}
        for name, value in requirements(submission.config, headers):
            requires.setdefault(name, []).append(value)
        job = self._server.submit(EVALUATION, payload, requires=requires)
        return NativeHandle(job.job_id, submission.config)

    def follow(self, job: NativeHandle) -> Iterator[Step]:
        """Yield the steps of a job from its first until it has ended; a repeated attempt begins with ``DOWNLOADED``."""
        for entry in self._server.watch(job.id):
            if entry.event == _STEP:
                yield _converted(entry.data, Step, "a step")

    def result(self, job: NativeHandle) -> Verdict:
        """Return how the tests of a job ended. Raises what ``result`` of the server's client raises if it has failed."""
        return judge(job.config, read_result_document(self._result(job).results))

    def archive(self, job: NativeHandle) -> bytes:
        """Return the archive of a job's results.

        Raises:
            CrossdockError: ``not_found`` if there is none, ``too_large``.
        """
        ref = self._result(job).archive
        if ref is None:
            raise CrossdockError(Code.NOT_FOUND, f"job {job.id} left no archive of its results")
        if ref.size > ARCHIVE_BYTES:
            raise CrossdockError(Code.TOO_LARGE, f"the archive of results has more than {ARCHIVE_BYTES} bytes")
        return self._server.download(ref)

    def _result(self, job: NativeHandle) -> _Result:
        return _converted(self._server.result(job.id), _Result, "the result")


def _converted(value: object, kind: type[Found], what: str) -> Found:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise CrossdockError(Code.INTERNAL, f"{what} of the evaluation cannot be understood: {error}") from None
