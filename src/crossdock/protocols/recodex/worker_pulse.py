"""When a worker pings its broker, when it gives a connection up and when it tries the next one.

A worker pings about once per interval. Whatever the broker says is a sign of life; after several pings in a row without
one the connection is given up, and the next is opened after a pause that doubles each time.
"""

import math
from enum import Enum, auto
from typing import Final

_FIRST_PAUSE: Final = 1.0


class Beat(Enum):
    """What is due."""

    NOTHING = auto()
    PING = auto()
    HANG_UP = auto()
    DIAL = auto()


class Pulse:
    """The heartbeat of one link. Times are seconds of a clock that only goes forward.

    Args:
        interval: seconds between two pings.
        liveness: pings in a row without an answer after which the connection is given up.
        longest_pause: the seconds that pauses between connections grow to.
    """

    def __init__(self, interval: float = 1.0, liveness: int = 4, longest_pause: float = 32.0) -> None:
        self.connected = False
        self.due = 0.0
        """When :meth:`beat` has to be called next."""
        self.interval: Final = interval
        self._liveness = liveness
        self._left = liveness
        self._longest_pause = longest_pause
        self._pause = _FIRST_PAUSE

    def beat(self, now: float, most: float = math.inf) -> Beat:
        """Return what is due. After a long sleep of this process that is one ping, not many.

        Args:
            now: the time.
            most: the longest pause (seconds) that will do now.
        """
        if now < self.due:
            return Beat.NOTHING
        if not self.connected:
            self.connected = True
            self._left = self._liveness
            self.due = now + self.interval
            return Beat.DIAL
        self._left -= 1
        if self._left > 0:
            self.due = now + self.interval
            return Beat.PING
        self.connected = False
        self.due = now + min(self._pause, most)
        self._pause = min(self._pause * 2, self._longest_pause)
        return Beat.HANG_UP

    def heard(self) -> None:
        """Note a sign of life of the broker."""
        self._left = self._liveness
        self._pause = _FIRST_PAUSE

    def rest(self, now: float) -> None:
        """Stay away for the longest pause: the broker is there, but has no work for us."""
        self.connected = False
        self.due = now + self._longest_pause
