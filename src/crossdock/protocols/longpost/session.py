"""The server's side of LONGPOST as a pure machine: requests in, effects out, facts in, a reply or a failure out.

:func:`serve` is a generator. What it yields is an effect that somebody else carries out (:mod:`.frontend`, or a list in a
test); what it is sent back is the fact that came of it. Every rule of the protocol is in here, and no socket, store or
clock is.

A result is delivered by the one caller whose :class:`Take` succeeds: whoever asks at the same moment is told "gone". The
result is made ready before it is taken, so a failure on the way leaves the task as it was.
"""

from collections.abc import Generator
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from crossdock.core.jobs import Document, Job, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.protocols.longpost.messages import (
    Cargo,
    Failure,
    Get,
    Part,
    Reply,
    Request,
    Start,
    Stop,
    Token,
    delivered,
    gone,
    running,
    stopped,
)


class Terms(Struct, frozen=True):
    """Who asks, and for how many seconds after its completion a task is kept."""

    tenant: str
    result_ttl: float


class Sight(Struct, frozen=True):
    """A task as it was found: its job, None if there is none, and the time (seconds since 1970)."""

    job: Job | None
    now: float


class Opened(Struct, frozen=True):
    """A task that was just started: a token that was drawn for it, and how it was after the grace time."""

    token: str
    sight: Sight


class Crate(Struct, frozen=True):
    """A part of a result, waiting: its text, or the bytes ``start`` to ``end`` of a document at rest."""

    tenant: str
    document: Document
    start: int = 0
    end: int | None = None


class Open(Struct, frozen=True):
    """Submit a job and give it a moment. Fact: :class:`Opened`."""

    payload: bytes


class Keep(Struct, frozen=True):
    """Make a token stand for a job. Fact: the token, another one if this is taken; it is on disk by then."""

    task: str
    job: int


class Admit(Struct, frozen=True):
    """Ask whether this client may look anything up. Fact: seconds to wait, None if it may."""


class Look(Struct, frozen=True):
    """Look a task up. Fact: :class:`Sight`."""

    task: str


class Pack(Struct, frozen=True):
    """Make a result ready to be sent. Fact: its text, or the tokens of its parts, which are at rest by then."""

    job: Job


class Take(Struct, frozen=True):
    """Forget a task. Fact: whether it was there; only one caller ever gets True."""

    task: str


class Cancel(Struct, frozen=True):
    """Forget a task and cancel its job. Fact: None."""

    task: str
    job: int


class Find(Struct, frozen=True):
    """Look a part up. Fact: :class:`Crate` or None."""

    cargo: str


class Unload(Struct, frozen=True):
    """Read a part and forget it. Fact: its text, None if another caller was faster."""

    cargo: str
    crate: Crate


class Miss(Struct, frozen=True):
    """Remember that this client asked for something that is not there. Fact: None."""


Effect = Open | Keep | Admit | Look | Pack | Take | Cancel | Find | Unload | Miss
Exchange = Generator[Effect, Any, Reply | Failure]


class Standing(Enum):
    """What a task is to its client."""

    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


_STANDINGS: Final = {State.SUCCEEDED: Standing.READY, State.FAILED: Standing.FAILED, State.CANCELLED: Standing.GONE}

_OUT_OF_TIME: Final = frozenset({"queue_timeout", "total_timeout"})
"""Codes of jobs that the broker failed because they did not begin or end in time."""


def standing(sight: Sight, terms: Terms) -> Standing:
    """Say what a task is to the caller named in ``terms``. Cancelled, expired and foreign tasks are gone."""
    job = sight.job
    if job is None or job.tenant != terms.tenant or job.cancel_requested:
        return Standing.GONE
    if job.finished is not None and job.terminal and sight.now >= job.finished + terms.result_ttl:
        return Standing.GONE
    return _STANDINGS.get(job.state, Standing.RUNNING)


def failure(job: Job) -> Failure:
    """Return the status that tells a client of a failed job: the job's own code if that is one, else a 5xx.

    What a job says when it fails on purpose is for its client; what an exception says is not.
    """
    if job.outcome is OutcomeKind.TIMED_OUT or job.code in _OUT_OF_TIME:
        return Failure(HTTPStatus.GATEWAY_TIMEOUT, "the worker took too long")
    if job.outcome is not OutcomeKind.FAILED:
        return Failure(HTTPStatus.INTERNAL_SERVER_ERROR, "worker error")
    code = job.code
    own = len(code) == len("400") and code.isascii() and code.isdigit() and "400" <= code <= "599"
    status = int(code) if own else HTTPStatus.INTERNAL_SERVER_ERROR
    return Failure(status, job.message or "the worker failed")


def serve(request: Request, terms: Terms) -> Exchange:
    """Answer one request."""
    match request:
        case Start():
            return _start(request, terms)
        case Get():
            return _get(request, terms)
        case Stop():
            return _stop(request, terms)
        case Cargo():
            return _cargo(request, terms)


def _start(request: Start, terms: Terms) -> Exchange:
    """Begin a task. Only one that goes on needs a token that is known: that of any other is spent with the answer."""
    opened: Opened = yield Open(request.payload)
    job = opened.sight.job
    if job is not None and standing(opened.sight, terms) is Standing.RUNNING:
        kept: str = yield Keep(opened.token, job.id)
        return running(Token.of(kept))
    return (yield from _settle(Token.of(opened.token), None, opened.sight, terms))


def _get(request: Get, terms: Terms) -> Exchange:
    pause: int | None = yield Admit()
    if pause is not None:
        return _too_many(pause)
    task = request.token.task
    sight: Sight | None = (yield Look(task)) if task is not None else None
    if task is None or sight is None or sight.job is None or sight.job.tenant != terms.tenant:
        yield Miss()
        return gone(request.token)
    return (yield from _settle(request.token, Take(task), sight, terms))


def _settle(token: Token, last: Take | None, sight: Sight, terms: Terms) -> Exchange:
    """Tell a client how its task is; deliver what there is to deliver, with ``last`` as the end of a task that is kept."""
    job = sight.job
    kind = standing(sight, terms)
    if kind is Standing.RUNNING:
        return running(token)
    if job is None or kind is Standing.GONE:
        return gone(token)
    reply = failure(job) if kind is Standing.FAILED else delivered(token, (yield Pack(job)))
    taken: bool = last is None or (yield last)
    return reply if taken else gone(token)


def _stop(request: Stop, terms: Terms) -> Exchange:
    task = request.token.task
    if task is not None:
        sight: Sight = yield Look(task)
        if sight.job is not None and sight.job.tenant == terms.tenant:
            yield Cancel(task, sight.job.id)
    return stopped(request.token)


def _cargo(request: Cargo, terms: Terms) -> Exchange:
    pause: int | None = yield Admit()
    if pause is not None:
        return _too_many(pause)
    cargo = request.token.cargo
    crate: Crate | None = (yield Find(cargo)) if cargo is not None else None
    if cargo is None or crate is None or crate.tenant != terms.tenant:
        yield Miss()
        return Failure(HTTPStatus.NOT_FOUND, "there is no such cargo: it was read, has expired, or never was")
    text: str | None = yield Unload(cargo, crate)
    if text is None:
        return Failure(HTTPStatus.NOT_FOUND, "there is no such cargo: it was read, has expired, or never was")
    return Part(request.token, text)


def _too_many(pause: int) -> Failure:
    return Failure(HTTPStatus.TOO_MANY_REQUESTS, "too many requests for things that are not there", pause)
