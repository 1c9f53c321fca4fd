"""The client's side of LONGPOST as a state machine: what to ask, when, and what the replies mean. No socket, no clock.

A driver posts what :class:`Ask` says after the pause it says, hands the status and body to :meth:`Polling.receive`, and
goes on until it is given :class:`Done`. The two clients and the backend are three such drivers.
"""

from enum import Enum
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.longpost.codec import decode_reply
from crossdock.protocols.longpost.messages import Answer, Cargo, Get, Part, Request, Start, Stop, Token

_TEXT: Final = 1000
"""Bytes of a failure's body that are passed on, if it is no problem document."""
_DETAIL: Final = 16 * 1024
"""Characters of a problem's detail that are."""


class WorkerError(Exception):
    """The server answered with an error status: the worker failed, or the request was refused.

    Args:
        status: the HTTP status.
        message: the text the server sent with it; of a problem document, its detail.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the server answered {status}: {message}")
        self.status = status
        self.message = message


class GoneError(Exception):
    """The server no longer knows the task: it expired, was stopped, or its result was read before."""


class Delays(Struct, frozen=True, kw_only=True):
    """The pauses between two calls of ``get``, in seconds: ``max(previous * factor, previous + step)``, at most ``cap``.

    The protocol allows to tweak them, as long as they grow and ``cap`` stays below half the time results are kept.
    """

    initial: float = 0.5
    factor: float = 1.01
    step: float = 0.01
    cap: float = 60.0

    def __post_init__(self) -> None:
        """Refuse pauses that would shrink, or not pause at all."""
        if not (0 < self.initial <= self.cap and self.factor >= 1 and self.step >= 0):
            raise CrossdockError(Code.INVALID, "delays need 0 < initial <= cap, factor >= 1 and step >= 0")

    def following(self, previous: float) -> float:
        """Return the pause that comes after a pause of ``previous`` seconds."""
        return min(max(previous * self.factor, previous + self.step), self.cap)


class Ask(Struct, frozen=True):
    """Post ``request`` once ``after`` seconds have passed."""

    request: Request
    after: float = 0.0


class Done(Struct, frozen=True):
    """The result, as JSON text."""

    text: str


Step = Ask | Done


class Stage(Enum):
    """Where a conversation is."""

    IDLE = "idle"
    STARTING = "starting"
    WAITING = "waiting"
    COLLECTING = "collecting"
    OVER = "over"


class Polling:
    """One task, from ``start`` to its result.

    Args:
        delays: the pauses between polls.
    """

    def __init__(self, delays: Delays | None = None) -> None:
        self.stage = Stage.IDLE
        self.token: Token | None = None
        self._delays = delays or Delays()
        self._delay = self._delays.initial
        self._due: list[Token] = []
        self._parts: list[str] = []

    def start(self, payload: bytes) -> Ask:
        """Begin: return the first thing to post. ``payload`` is JSON text."""
        self.stage = Stage.STARTING
        return Ask(Start(payload))

    def receive(self, status: int, body: bytes) -> Step:
        """Take the server's answer to what was asked last; return what to do next.

        Raises:
            WorkerError: the status is not 200.
            GoneError: the server does not know the task.
            CrossdockError: ``invalid`` if the body is not an answer to what was asked.
        """
        if status != HTTPStatus.OK:
            raise WorkerError(status, _told(body))
        reply = decode_reply(body)
        if self.stage is Stage.COLLECTING:
            return self._collect(reply)
        if isinstance(reply, Answer):
            return self._advance(reply)
        raise CrossdockError(Code.INVALID, "the server answered with a part of a result that nobody asked for")

    def lost(self) -> Ask | None:
        """Say what to do when the last request got no answer: poll again, or None if it must not be repeated."""
        return self._ask() if self.stage is Stage.WAITING else None

    def abandon(self) -> Stop | None:
        """End the conversation; return the ``stop`` the server is owed, None if there is nothing to stop."""
        owed = self.stage is Stage.WAITING and self.token is not None
        self.stage = Stage.OVER
        return Stop(self.token) if owed and self.token else None

    def _advance(self, answer: Answer) -> Step:
        if not answer.done:
            if not answer.more:
                self.stage = Stage.OVER
                raise GoneError("the server does not know the task any more")
            if self.token is None:
                self.token = answer.token
            self.stage = Stage.WAITING
            return self._ask()
        if isinstance(answer.result, str) and not answer.more:
            return self._finish(answer.result)
        if isinstance(answer.result, tuple) and answer.result and answer.more:
            self.stage = Stage.COLLECTING
            self._due = list(reversed(answer.result))
            return Ask(Cargo(self._due[-1]))
        raise CrossdockError(Code.INVALID, "the server says that it is done, and sent no result")

    def _ask(self) -> Ask:
        assert self.token is not None  # noqa: S101 - in the stage "waiting" there is one
        ask = Ask(Get(self.token), self._delay)
        self._delay = self._delays.following(self._delay)
        return ask

    def _collect(self, reply: Answer | Part) -> Step:
        expected = self._due.pop()
        if reply.token.text != expected.text or not isinstance(reply.result, str):
            raise CrossdockError(Code.INVALID, "the server sent another part of the result than was asked for")
        self._parts.append(reply.result)
        return Ask(Cargo(self._due[-1])) if self._due else self._finish("".join(self._parts))

    def _finish(self, text: str) -> Done:
        self.stage = Stage.OVER
        return Done(text)


class _Problem(Struct):
    detail: str


_problems: Final = msgspec.json.Decoder(_Problem)


def _told(body: bytes) -> str:
    """Return what the body of a failure says to people."""
    try:
        return _problems.decode(body).detail[:_DETAIL]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body[:_TEXT].decode("utf-8", "replace")
