"""The messages of both ReCodEx doors as frozen types, in both directions.

On the wire a message is a list of frames: a command word, then one argument per frame. Clients talk to the frontend
(:class:`Eval` and three commands for operators), workers to the backend (:class:`Init`, :class:`Ping`, :class:`Progress`,
:class:`Done`). The wire extension that only our own workers and brokers use is in :mod:`.extension`.

Texts that identify something (job ids, URLs, headers) are UTF-8. Progress is passed on unread, so its frames stay bytes.
"""

from typing import Final

import msgspec
from msgspec import Struct

Pair = tuple[str, str]
Frames = tuple[bytes, ...]

CLIENT_PORT: Final = 9658
WORKER_PORT: Final = 9657
META: Final = "meta."
"""How the names of headers begin that describe a job and ask nothing of its worker."""
EVALUATION: Final = "evaluation"
"""The kind of a job whose client names none."""
CHANNEL: Final = "recodex"
"""The channel of notifications owed to clients of the frontend; its addresses are :class:`Owed`."""
EXTENSION: Final = "crossdock"
"""The command word of our extension, and the key that announces it in the additional information of ``init``."""

# Statuses of `done`. Older workers know OK and ERR only.
OK: Final = "OK"
FAILED: Final = "FAILED"
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
ERR: Final = "ERR"

# States of `progress`. Workers may send others; FAILED is also a status.
DOWNLOADED: Final = "DOWNLOADED"
STARTED: Final = "STARTED"
TASK: Final = "TASK"
ENDED: Final = "ENDED"
UPLOADED: Final = "UPLOADED"
FINISHED: Final = "FINISHED"
ABORTED: Final = "ABORTED"


# Client to frontend


class Eval(Struct, frozen=True, gc=False):
    """Submit a job. ``archive`` and ``result`` are URLs that nobody but the worker reads.

    ``headers`` are requirements, ``meta`` (names without the prefix) says more about the job. ``separated`` is False in the
    oldest dialect, which has no empty frame after the headers and knows no :class:`Ack`.
    """

    job: str
    archive: str
    result: str
    headers: tuple[Pair, ...] = ()
    meta: tuple[Pair, ...] = ()
    separated: bool = True


class GetStats(Struct, frozen=True, gc=False):
    """Ask for the counters."""


class Freeze(Struct, frozen=True, gc=False):
    """Accept no more jobs; those that were accepted go on."""


class Unfreeze(Struct, frozen=True, gc=False):
    """Accept jobs again."""


# Frontend to client


class Ack(Struct, frozen=True, gc=False):
    """The broker is alive and has read the command."""


class Accept(Struct, frozen=True, gc=False):
    """The job is accepted. From our broker it means that it is on disk."""


class Reject(Struct, frozen=True, gc=False):
    """The job is refused; ``text`` says why. The oldest brokers give no text."""

    text: str = ""


class Stats(Struct, frozen=True, gc=False):
    """The counters, by name, in the order of the wire."""

    values: tuple[Pair, ...]


# Worker to backend


class Init(Struct, frozen=True, gc=False):
    """A worker introduces itself: its hardware group and what else it offers.

    ``information`` is what stands behind the empty frame: ``description``, ``current_job`` (the job that runs now, from
    before a reconnection) and whatever else; None if there is no empty frame, as older workers have it.
    """

    group: str
    headers: tuple[Pair, ...] = ()
    information: tuple[Pair, ...] | None = None

    def about(self, key: str) -> str | None:
        """Return the first value of a key of the additional information."""
        return next((value for name, value in self.information or () if name == key), None)


class Ping(Struct, frozen=True, gc=False):
    """The worker is alive, and asks whether the broker is."""


class Progress(Struct, frozen=True, gc=False):
    """How far a job is: the job's id, a state and, of ``TASK``, a task's id and state. Nobody checks the frames."""

    frames: Frames

    @classmethod
    def of(cls, *texts: str) -> "Progress":
        """Return progress from texts: job id, state, and for ``TASK`` task id and task state."""
        return cls(tuple(text.encode() for text in texts))

    @property
    def job(self) -> str:
        """The id of the job, readable also if it is no UTF-8."""
        return self.frames[0].decode(errors="backslashreplace")


class Done(Struct, frozen=True, gc=False):
    """A job has ended: ``OK``, ``FAILED``, ``INTERNAL_ERROR``, or ``ERR`` of old workers. ``message`` says why not OK."""

    job: str
    status: str
    message: str = ""


# Backend to worker


class Evaluate(Struct, frozen=True, gc=False):
    """Evaluate a job (command ``eval``): fetch the archive, send the results to the other URL."""

    job: str
    archive: str
    result: str


class Intro(Struct, frozen=True, gc=False):
    """The broker does not know the worker that pings: it should introduce itself."""


class Pong(Struct, frozen=True, gc=False):
    """The broker is alive and knows the worker."""


# Either way


class Extended(Struct, frozen=True, gc=False):
    """A message of our extension: a body in MessagePack, see :mod:`.extension`.

    ``ticket`` links an answer to its question, 0 where there is none.
    """

    ticket: int
    body: bytes


class Unknown(Struct, frozen=True, gc=False):
    """A command this side does not know. It is ignored, as all programs of this protocol do."""

    command: bytes


class Malformed(Struct, frozen=True, gc=False):
    """A known command with arguments that cannot be understood; ``reason`` is for people. ``separated`` as in Eval."""

    command: str
    reason: str
    separated: bool = True


FromClient = Eval | GetStats | Freeze | Unfreeze | Unknown | Malformed
ToClient = Ack | Accept | Reject | Stats
FromWorker = Init | Ping | Progress | Done | Extended | Unknown | Malformed
ToWorker = Evaluate | Intro | Pong | Extended


# What is stored with a job


class Owed(Struct, frozen=True, omit_defaults=True):
    """Who is to be told of a job's end: the address of a notification on :data:`CHANNEL`.

    ``id`` is the job's id as its client knows it. The result of a job of another kind than ``evaluation`` has to be put to
    ``result_url``; an evaluation's worker has done that itself.
    """

    id: str
    result_url: str = ""
    kind: str = EVALUATION

    def address(self) -> str:
        """Return the text that a subscriber carries."""
        return _encode(self).decode()

    @classmethod
    def read(cls, address: str) -> "Owed":
        """Return what :meth:`address` was made of.

        Raises:
            msgspec.DecodeError: the text is no such address.
        """
        return _owed.decode(address)


_encode: Final = msgspec.json.Encoder().encode
_owed: Final = msgspec.json.Decoder(Owed)
