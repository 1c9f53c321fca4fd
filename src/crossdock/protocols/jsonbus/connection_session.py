"""One connection to RabbitMQ as a pure machine: what happened goes in, what to do next comes out.

There are two of these, one for the connection that publishes and one for that which consumes. Whoever drives them has one
thing to do at a time: connect, watch the connection, or sleep.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from crossdock.core.errors import CrossdockError


class State(StrEnum):
    """Where a connection stands."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    BLOCKED = "blocked"
    CLOSING = "closing"


class Event(StrEnum):
    """What can happen to it."""

    DUE = "due"
    OPENED = "opened"
    FAILED = "failed"
    LOST = "lost"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    CLOSE = "close"


# What is not in here does not happen: a driver that says so all the same has a bug.
_NEXT: Final[Mapping[tuple[State, Event], State]] = {
    (State.DOWN, Event.DUE): State.CONNECTING,
    (State.CONNECTING, Event.OPENED): State.UP,
    (State.CONNECTING, Event.FAILED): State.DOWN,
    (State.UP, Event.LOST): State.DOWN,
    (State.UP, Event.BLOCKED): State.BLOCKED,
    (State.BLOCKED, Event.BLOCKED): State.BLOCKED,
    (State.BLOCKED, Event.UNBLOCKED): State.UP,
    (State.BLOCKED, Event.LOST): State.DOWN,
    **{(state, Event.CLOSE): State.CLOSING for state in State},
}


class Connect(Struct, frozen=True):
    """Open a connection, and put back on it what belongs there."""


class Watch(Struct, frozen=True):
    """Use the connection until it is lost."""


class Sleep(Struct, frozen=True):
    """Do nothing for some seconds."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Tell whoever started us: it will not mend itself, or nobody wants to wait."""

    error: CrossdockError


Step = Connect | Watch | Sleep | GiveUp


class Plan(Struct, frozen=True, kw_only=True):
    """When to try again: after ``least`` seconds, each time ``factor`` times longer, up to ``most``.

    A connection that lasted ``steady`` seconds starts anew with the least.
    """

    least: float = 0.25
    factor: float = 2.0
    most: float = 15.0
    steady: float = 10.0


class ConnectionSession:
    """What is to be done about one connection.

    Args:
        wait: whether a broker that cannot be reached at the start is waited for.
        plan: when to try again.
    """

    def __init__(self, *, wait: bool, plan: Plan | None = None) -> None:
        self.state = State.DOWN
        self.error: CrossdockError | None = None
        """Why there is no connection."""
        self.reason = ""
        """Why RabbitMQ blocks us, in its own words."""
        self._wait = wait
        self._plan = plan or Plan()
        self._first = True
        self._tries = 0
        self._since = 0.0

    @property
    def starting(self) -> bool:
        """Whether nothing has been tried yet that came to an end: whoever started us still listens."""
        return self._first

    @property
    def usable(self) -> bool:
        """Whether there is a connection, be it blocked."""
        return self.state in (State.UP, State.BLOCKED)

    def due(self) -> Step:
        """Take the fact that it is time to connect; so begins everything."""
        self._go(Event.DUE)
        return Connect()

    def opened(self, now: float) -> Step:
        """Take the fact that there is a connection, with everything on it."""
        self._go(Event.OPENED)
        self._first, self.error, self._since = False, None, now
        return Watch()

    def failed(self, error: CrossdockError, chance: float, *, lasting: bool) -> Step:
        """Take the fact that there was no connection to be had.

        Args:
            error: why.
            chance: a number from 0 to 1 that spreads those who try again.
            lasting: whether only people can mend it: a wrong password, a queue that does not fit.
        """
        self._go(Event.FAILED)
        self.error = error
        first, self._first = self._first, False
        if first and (lasting or not self._wait):
            return GiveUp(error)
        return self._later(chance)

    def lost(self, error: CrossdockError, now: float, chance: float) -> Step:
        """Take the fact that the connection broke."""
        self._go(Event.LOST)
        self.error, self.reason = error, ""
        if now - self._since >= self._plan.steady:
            self._tries = 0
        return self._later(chance)

    def blocked(self, reason: str) -> None:
        """Take the fact that RabbitMQ reads nothing more from us for now."""
        self._go(Event.BLOCKED)
        self.reason = reason

    def unblocked(self) -> None:
        """Take the fact that RabbitMQ reads again."""
        self._go(Event.UNBLOCKED)
        self.reason = ""

    def close(self) -> None:
        """Take the fact that we leave."""
        self._go(Event.CLOSE)

    def _later(self, chance: float) -> Step:
        plan = self._plan
        seconds = min(plan.most, plan.least * plan.factor ** min(self._tries, 30))
        self._tries += 1
        return Sleep(seconds * (1 + chance) / 2)

    def _go(self, event: Event) -> None:
        self.state = _NEXT[self.state, event]
