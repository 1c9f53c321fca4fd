"""The worker's side of a link to a ReCodEx broker as a pure machine: frames, questions and the time in, effects out.

It introduces itself with ``init`` and pings at once. If the broker answers with the welcome of our extension, work goes on
in questions and answers that carry tickets (:mod:`.worker_questions`). Any other answer comes from a broker that knows
nothing of the extension, and the worker is an ordinary one with one slot (:mod:`.worker_evaluations`).

Whenever the broker does not know the worker (any more), or after a lost connection, the worker introduces itself again: it
names the job that runs, or the tokens of its leases, and repeats what has no answer yet.
"""

import math
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease, Outcome
from crossdock.core.matching import parse_count
from crossdock.core.requests import Note, WorkerInfo
from crossdock.protocols.recodex.codec import decode_to_worker, encode_from_worker
from crossdock.protocols.recodex.extension import Hello, Question, Refused, Say, Welcome, encode_body, encode_hello
from crossdock.protocols.recodex.messages import (
    EVALUATION,
    EXTENSION,
    Evaluate,
    Extended,
    Init,
    Intro,
    Malformed,
    Ping,
    Pong,
)
from crossdock.protocols.recodex.worker_evaluations import Evaluations
from crossdock.protocols.recodex.worker_pulse import Beat, Pulse
from crossdock.protocols.recodex.worker_questions import Questions, Settled, error_of, read_answer

_NO_GROUP: Final = "none"
"""The hardware group of a worker that was given none: the word must not be missing, and nobody requires this one."""
_ECHO: Final = 0.5
"""Part of a ping interval in which another ``intro`` after an ``init`` only answers pings that were sent before it."""
_HOLDING: Final = 4.0
"""Seconds between two connections while leases are held: they run out if the broker is back and we are not."""
_LESS: Final = "the broker does not know Crossdock's extension (any more)"
_UNFIT: Final = f"{_LESS}, so all it gives are evaluations, and this worker runs none"


class Standing(Enum):
    """What the broker is to the worker."""

    STRANGER = auto()  # it has not answered the introduction
    PLAIN = auto()  # any ReCodEx broker
    EXTENDED = auto()  # one of ours
    UNFIT = auto()  # it refuses us, or has only evaluations to give, and the worker runs none


class Transmit(Struct, frozen=True):
    """Send a message."""

    frames: list[bytes]


class Dial(Struct, frozen=True):
    """Open a new connection."""


class HangUp(Struct, frozen=True):
    """Close the connection; what was not sent is dropped."""


Effect = Transmit | Dial | HangUp | Settled


class WorkerSession:
    """One worker at one broker. What is to be done gathers in ``effects``; whoever carries it out empties the list.

    Args:
        info: how the worker introduces itself.
        pulse: when to ping and to reconnect.
        old_done: say ``done`` as brokers of 2016 understand it.

    Raises:
        CrossdockError: ``invalid`` for a number of threads that would end the original broker.
    """

    def __init__(self, info: WorkerInfo, pulse: Pulse, *, old_done: bool = False) -> None:
        for text in info.capabilities.values.get("threads", ()):
            if not text.isdecimal() or parse_count(text) is None:
                raise CrossdockError(Code.INVALID, f"the header threads={text!r} has to be a number")
        self.effects: list[Effect] = []
        self.standing = Standing.STRANGER
        self.refusal = CrossdockError(Code.INVALID, _UNFIT)
        """Why nothing comes of it, while the standing is ``UNFIT``."""
        self.evaluations = Evaluations(old_done=old_done)
        self.questions = Questions()
        self.pulse = pulse
        self._info = info
        self._named: tuple[int, ...] = ()
        self._introduced_at = 0.0
        self._pings = 0
        """Pings since the introduction that have no answer yet."""
        self._until_heard = 0
        """Answers that have to come until the last ``done`` has certainly arrived."""

    def tick(self, now: float) -> None:
        """Do what is due."""
        beat = self.pulse.beat(now, _HOLDING if self.questions.held else math.inf)
        if beat is Beat.DIAL:
            self.effects.append(Dial())
            self.introduce(now)
        elif beat is Beat.PING:
            self._ping()
        elif beat is Beat.HANG_UP:
            self.standing = Standing.STRANGER
            self.effects.append(HangUp())

    def introduce(self, now: float) -> None:
        """Say who we are and what we hold, and ask at once whether that was heard."""
        self.standing = Standing.STRANGER
        self._introduced_at = now
        self._pings = 0
        self._named = tuple(sorted(self.questions.held))
        self.effects.append(_transmit(_init(self._info, self.evaluations.current_job, self._named)))
        self._say_ends(self.evaluations.introduced())

    def receive(self, frames: Sequence[bytes], now: float) -> None:
        """Take a message of the broker. Whatever it says is a sign of life; what begins with no command is ignored."""
        self.pulse.heard()
        message = decode_to_worker(frames)
        if isinstance(message, Extended):
            self._hear(message, now)
        elif isinstance(message, Pong):
            self._pong(now)
        elif isinstance(message, Intro):
            self._intro(now)
        elif isinstance(message, Evaluate):
            if self._plain(now):
                self.evaluations.take(message)
        elif isinstance(message, Malformed) and message.command == "eval" and len(frames) > 1 and self._plain(now):
            # Unlike the original worker, which would keep the broker waiting for an end that never comes.
            reason = f"the broker sent a malformed eval: {message.reason}"
            self.effects += map(Transmit, self.evaluations.refuse(frames[1], reason))

    def ask(self, question: Question) -> int:
        """Ask the broker, as soon as it is known to understand, and return the ticket of the answer."""
        ticket = self.questions.ask(question)
        if self.standing is Standing.EXTENDED:
            self.effects.append(Transmit(self.questions.message(ticket)))
        return ticket

    def note(self, token: int, note: Note) -> None:
        """Say how far an attempt is; while nobody listens it is not said."""
        if self.standing is Standing.EXTENDED:
            self.effects.append(_transmit(Extended(0, encode_body(Say(token, note)))))
        elif self.pulse.connected and (message := self.evaluations.note(token, note)) is not None:
            self.effects.append(Transmit(message))

    def next_leases(self, limit: int) -> list[Lease]:
        """Return leases that have come already."""
        waiting = self.questions.leases
        leases = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        evaluation = self.evaluations.next() if self.standing is Standing.PLAIN and limit > 0 else None
        return leases if evaluation is None else [evaluation]

    def end(self, token: int, outcome: Outcome) -> bool:
        """End an evaluation for an ordinary broker, who hears of it once it is there; False if the token is no lease."""
        messages = self.evaluations.end(token, outcome)
        if messages is not None and self.pulse.connected:
            self._say_ends(messages)
        return messages is not None

    def _intro(self, now: float) -> None:
        """The broker does not know us."""
        if self.standing is Standing.UNFIT or now - self._introduced_at < _ECHO * self.pulse.interval:
            return
        if self.evaluations.unheard:
            # It may have registered us meanwhile and ignore a second init; then the same done again would end it. As
            # another peer we may say it.
            self.effects += [HangUp(), Dial()]
        self.introduce(now)

    def _pong(self, now: float) -> None:
        self._pings = max(self._pings - 1, 0)
        if self._until_heard:
            self._until_heard -= 1
            if not self._until_heard:
                self.evaluations.heard()
        self._plain(now)

    def _plain(self, now: float) -> bool:
        """The broker has said something without a welcome. Return whether it is one to whom we are an ordinary worker."""
        if self.standing is Standing.STRANGER:
            self.effects += self.questions.give_up(CrossdockError(Code.UNAVAILABLE, _LESS))
            self.standing = Standing.PLAIN
            if EVALUATION not in self._info.capabilities.values.get("kind", ()):
                self._give_up(CrossdockError(Code.INVALID, _UNFIT), now)
        return self.standing is Standing.PLAIN

    def _hear(self, message: Extended, now: float) -> None:
        answer = read_answer(message)
        if isinstance(answer, Welcome):
            self.standing = Standing.EXTENDED
            self.evaluations.forget()
            for item in self.questions.welcomed(self._named, answer.renewal.alive):
                self.effects.append(item if isinstance(item, Settled) else Transmit(item))
        elif message.ticket == 0 and isinstance(answer, Refused) and self.standing is Standing.STRANGER:
            self._give_up(error_of(answer), now)
        elif self.questions.unknown(message.ticket, answer):
            self.introduce(now)
        elif (settled := self.questions.answered(message.ticket, answer)) is not None:
            self.effects.append(settled)

    def _give_up(self, refusal: CrossdockError, now: float) -> None:
        """Leave the broker alone for a while."""
        self.standing, self.refusal = Standing.UNFIT, refusal
        self.effects.append(HangUp())
        self.pulse.rest(now)

    def _ping(self) -> None:
        self._pings += 1
        self.effects.append(_transmit(Ping()))

    def _say_ends(self, messages: list[list[bytes]]) -> None:
        """Say the end of a job, and ask at once whether that was heard."""
        self.effects += map(Transmit, messages)
        self._ping()
        self._until_heard = self._pings if self.evaluations.unheard else 0


def _transmit(message: Init | Ping | Extended) -> Transmit:
    return Transmit(encode_from_worker(message))


def _init(info: WorkerInfo, current_job: str | None, tokens: tuple[int, ...]) -> Init:
    """Return how a worker introduces itself: as the original one does, and behind that what only our brokers read."""
    offers = info.capabilities
    headers = sorted((name, value) for name, values in offers.values.items() if name != "kind" for value in values)
    hello = Hello(worker=info.id, slots=info.slots, kinds=offers.values.get("kind", ()), tokens=tokens)
    current = () if current_job is None else (("current_job", current_job),)
    information = (("description", info.description), *current, (EXTENSION, encode_hello(hello)))
    return Init(offers.group or _NO_GROUP, tuple(headers), information)
