"""What a running function may say and ask: the ``ctx`` of every job."""

from collections.abc import AsyncIterable, Iterable, Sequence
from os import PathLike
from typing import Any, Final, Protocol

import msgspec

from crossdock.core.jobs import ArtifactRef, Progress

_LOG_LIMIT: Final = 16 * 1024
_MESSAGE_LIMIT: Final = 1000

Content = bytes | PathLike[str] | Iterable[bytes] | AsyncIterable[bytes]
"""What can become an artifact: bytes, a file, or pieces."""


NO_ARTIFACTS: Final = "this worker has no place for artifacts"


class Channel(Protocol):
    """Where the words of a context go: over a socket from a child process, or straight to the attempt in the loop."""

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...

    def progress(self, progress: Progress) -> None:
        """Pass on how far the attempt is."""
        ...

    def log(self, text: str) -> None:
        """Pass on a line for the job's log."""
        ...

    def artifact(self, content: Content, media_type: str) -> Any:
        """Store an artifact; an awaitable in the loop."""
        ...


class Context:
    """The job that runs, as its function sees it."""

    __slots__ = ("_channel", "_inputs", "_texts", "attempt", "job_id", "saw_cancel")

    def __init__(self, channel: Channel, job_id: str, attempt: int, inputs: Sequence[bytes | None] = ()) -> None:
        self._channel = channel
        self._texts = inputs
        self._inputs: list[Any] | None = None
        self.job_id: Final = job_id
        """The id of the job in its text form; of a member of an array ``ARRAY.INDEX``."""
        self.attempt: Final = attempt
        """The number of this attempt, counted from 1."""
        self.saw_cancel = False
        """Whether the function has read in ``cancelled`` that it should stop."""

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop. A function that returns after it has seen True is cancelled, whatever it returns."""
        if not self.saw_cancel:
            self.saw_cancel = self._channel.cancelled
        return self.saw_cancel

    @property
    def inputs(self) -> list[Any]:
        """The results of the jobs this one was submitted ``after``, in that order; None for one that has no result."""
        if self._inputs is None:
            self._inputs = [None if text is None else msgspec.json.decode(text) for text in self._texts]
        return self._inputs

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Say that ``done`` of ``total`` units (0: unknown) are done. Cheap: what comes too fast is summed up."""
        self._channel.progress(Progress(done, total, message[:_MESSAGE_LIMIT]))

    def log(self, text: str) -> None:
        """Add a line to the job's log; text above 16 KiB is cut off."""
        self._channel.log(text[:_LOG_LIMIT])

    def artifact(self, content: Content, media_type: str = "application/octet-stream") -> Any:
        """Store bytes, a file (a ``Path``) or an iterable of bytes, streamed, and return a reference to put into the result.

        Async functions have to await it.

        Returns:
            A dictionary with ``digest`` (SHA-256), ``size`` (bytes) and ``media_type``.
        """
        return self._channel.artifact(content, media_type)


def refuse_text(content: object) -> None:
    """Raise TypeError for text, which would pass as an iterable."""
    if isinstance(content, str):
        raise TypeError("an artifact is made of bytes, a Path or an iterable of bytes; encode the text")


def reference(ref: ArtifactRef) -> dict[str, object]:
    """Return an artifact's reference as it stands in results."""
    return {"digest": ref.digest, "size": ref.size, "media_type": ref.media_type}
