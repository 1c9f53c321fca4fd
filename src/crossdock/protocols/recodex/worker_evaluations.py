"""What a worker keeps of its evaluations while it is an ordinary ReCodEx worker: one runs, and who has to hear of its end.

A broker credits a ``done`` only to the connection it gave the job to, or that announced it as ``current_job``. Without that
credit the original broker ignores the message, or dies of it. So a ``done`` is said once per introduction, and only of the
job that the introduction named or that came after it. It is said again after a further introduction if nothing has shown
that it arrived before: the frontend has to bear being told twice, while an end that nobody hears of is a job that is lost.
"""

from collections import deque
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.requests import Note
from crossdock.protocols.recodex.codec import encode_from_worker
from crossdock.protocols.recodex.messages import (
    ABORTED,
    ERR,
    EVALUATION,
    FAILED,
    FINISHED,
    INTERNAL_ERROR,
    OK,
    TASK,
    Done,
    Evaluate,
    Progress,
)
from crossdock.runners.program.payload import EvaluationPayload

LEASE_LENGTH: Final = 60.0
"""Seconds that a lease says it lasts. No broker counts them: it stands as long as this link says so."""

Message = list[bytes]

_LAST_WORDS: Final = {OK: (FINISHED,), FAILED: (FAILED, FINISHED), INTERNAL_ERROR: (ABORTED,)}
"""What follows the progress of a job, by status. A job that will be tried again is not finished."""


class _Running(Struct, eq=False):
    token: int
    job: str
    said: set[str]


class Evaluations:
    """The evaluations of one worker.

    Args:
        old_done: say ``done`` as brokers of 2016 understand it, with ``OK`` or ``ERR`` and no message.
    """

    def __init__(self, *, old_done: bool = False) -> None:
        self._old_done = old_done
        self._tokens = 0
        self._queue: deque[Evaluate] = deque()
        self._running: _Running | None = None
        self._ended: tuple[str, Message] | None = None

    @property
    def current_job(self) -> str | None:
        """The job that an introduction has to name: it runs, waits, or has ended and perhaps nobody has heard of it."""
        if self._running is not None:
            return self._running.job
        if self._queue:
            return self._queue[0].job
        return None if self._ended is None else self._ended[0]

    @property
    def unheard(self) -> bool:
        """Whether a ``done`` was said that may not have arrived."""
        return self._ended is not None

    def heard(self) -> None:
        """Note that the broker has got the last ``done``."""
        self._ended = None

    def forget(self) -> None:
        """Forget everything: the broker is another one now and gave us none of it."""
        self._queue.clear()
        self._running = self._ended = None

    def introduced(self) -> list[Message]:
        """Return what has to be said after an introduction. What it did not name is not credited any more and forgotten."""
        while len(self._queue) > (self._running is None):
            self._queue.pop()
        if self._running is not None or self._queue:
            self._ended = None
        return [] if self._ended is None else [self._ended[1]]

    def take(self, evaluate: Evaluate) -> None:
        """Queue an evaluation. Brokers give one when they know that the one before has ended."""
        if self._running is None:
            self._ended = None
        self._queue.append(evaluate)

    def next(self) -> Lease | None:
        """Return the next evaluation if none runs."""
        if self._running is not None or not self._queue:
            return None
        evaluate = self._queue.popleft()
        self._tokens += 1
        self._running = _Running(self._tokens, evaluate.job, set())
        payload = EvaluationPayload(submission=evaluate.archive, result_url=evaluate.result, job_id=evaluate.job)
        return Lease(
            job=self._tokens,
            token=self._tokens,
            attempt=1,
            kind=EVALUATION,
            payload=msgspec.json.encode(payload),
            length=LEASE_LENGTH,
        )

    def alive(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Return those tokens that are still leases."""
        return tuple(token for token in tokens if self._running is not None and token == self._running.token)

    def note(self, token: int, note: Note) -> Message | None:
        """Return the progress that a note is here. Only steps are: the protocol has no words for others."""
        running = self._running
        if running is None or running.token != token or note.step is None:
            return None
        phase = note.step.phase.upper()
        running.said.add(phase)
        task = (note.step.task, note.step.state.upper()) if phase == TASK else ()
        return encode_from_worker(Progress.of(running.job, phase, *task))

    def end(self, token: int, outcome: Outcome) -> list[Message] | None:
        """Return what has to be said of an end, ``done`` last; None if the token is no lease (any more)."""
        running = self._running
        if running is None or running.token != token:
            return None
        self._running = None
        status = _status(outcome.kind)
        words = [word for word in _LAST_WORDS[status] if word not in running.said]
        message = "" if status == OK else outcome.message or outcome.code
        done = self._done(running.job.encode(), status, message)
        self._ended = (running.job, done)
        return [*(encode_from_worker(Progress.of(running.job, word)) for word in words), done]

    def refuse(self, job: bytes, reason: str) -> list[Message]:
        """Return what has to be said of an evaluation that cannot be begun: the same frames will not be better tomorrow."""
        progress = [[b"progress", job, word.encode()] for word in _LAST_WORDS[FAILED]]
        return [*progress, self._done(job, FAILED, reason)]

    def _done(self, job: bytes, status: str, message: str) -> Message:
        if self._old_done:
            return [b"done", job, (OK if status == OK else ERR).encode()]
        done = encode_from_worker(Done("", status, message))
        return [done[0], job, *done[2:]]


def _status(kind: OutcomeKind) -> str:
    """Return the status that says what is to follow: nothing, nothing, or another attempt."""
    if kind is OutcomeKind.SUCCEEDED:
        return OK
    return FAILED if kind is OutcomeKind.FAILED else INTERNAL_ERROR
