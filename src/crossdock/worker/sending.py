"""Getting words to a broker that may be away for a while."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Verdict

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log: Final = structlog.get_logger("crossdock.worker")


class Backoff:
    """Pauses that double, with jitter, so that many workers do not come back at once."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE

    async def pause(self) -> None:
        """Sleep, longer each time."""
        await asyncio.sleep(self._seconds * (1 - random.random() / 2))  # noqa: S311 - jitter needs no secrecy
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE)

    def reset(self) -> None:
        """Begin with short pauses again."""
        self._seconds = _FIRST_PAUSE


class Delivery:
    """How reports of a worker reach the broker, and the flag that says there is something to send."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()
        self._patient = True

    def wanted(self) -> None:
        """Say that there is something to send."""
        self._wanted.set()

    async def wait(self) -> None:
        """Wait until there is something to send."""
        await self._wanted.wait()
        self._wanted.clear()

    def hurry(self) -> None:
        """Give up from now on when the broker cannot be reached."""
        self._patient = False

    async def deliver(self, report: Callable[[], Awaitable[Verdict]]) -> Verdict | None:
        """Report, again and again while the broker is away: the work is done, and a late success still counts.

        Returns:
            The verdict, or None if the lease is not ours any more or nobody answered in time.

        Raises:
            CrossdockError: if the broker does not want this report for what it says.
        """
        backoff = Backoff()
        while True:
            try:
                return await report()
            except CrossdockError as error:
                if error.code in (Code.STALE_LEASE, Code.NOT_FOUND):
                    return None
                if error.code is not Code.UNAVAILABLE:
                    raise
                _log.warning("a report could not be delivered", reason=str(error), again=self._patient)
                if not self._patient:
                    return None
            await backoff.pause()
