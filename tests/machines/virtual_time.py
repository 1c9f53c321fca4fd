"""An event loop whose time passes only when everybody waits, and the clocks that go with it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

_TURN = 1e-6
"""Seconds that a turn of the loop takes. Without it, who waits for less than a rounding error would wait for ever."""


class Deadlock(AssertionError):
    """Everybody waits, and for no time: nothing can happen any more."""


class _Sleeper(selectors.SelectSelector):
    """Selects nothing; instead of blocking it moves the time of its loop."""

    loop: "VirtualLoop"

    def select(self, timeout=None):
        if timeout is None:
            raise Deadlock("everybody waits for ever")
        self.loop.now += max(_TURN, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks in one thread, without sockets and threads; a year takes as long as what is done in it."""

    def __init__(self) -> None:
        self.now = 0.0
        sleeper = _Sleeper()
        sleeper.loop = self
        super().__init__(sleeper)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self.now


class SkewedClock:
    """The clocks of one machine: ``skew`` is how wrong the one is that people share."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew = 0.0

    def wall(self) -> float:
        """Return the seconds since 1970, as the machine believes."""
        return 1_700_000_000.0 + self._loop.now + self.skew

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return 5000.0 + self._loop.now


def run_virtually(main: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    """Run ``main`` to its end on ``loop``, end whatever it left running, and close the loop."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in sorted(left, key=lambda task: task.get_name()):
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
