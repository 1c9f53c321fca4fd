"""Guessing tokens does not pay: how often a client may ask for something that is not there."""

import math
from collections import deque
from typing import Final

_MINUTE: Final = 60.0
_SECOND: Final = 1.0


class Misses:
    """Counts misses per address and in all. Times are seconds that only go forward.

    A refused client is refused for hits as well: an answer that tells them apart would be a guess for free.

    Args:
        per_minute: misses that one address may have in a minute.
        per_second: misses of all addresses in a second, above which clients without a key are refused.
    """

    def __init__(self, per_minute: int, per_second: float) -> None:
        self._per_minute = per_minute
        self._per_second = per_second
        self._addresses: dict[str, deque[float]] = {}
        self._recent: deque[float] = deque()

    def pause(self, address: str, now: float, *, known: bool) -> int | None:
        """Return the whole seconds a client has to wait before it may ask, None if it may ask now.

        Args:
            address: what counts as one client.
            now: the time.
            known: whether it showed an API key.
        """
        times = self._addresses.get(address)
        if times is not None and len(times) >= self._per_minute and (left := times[0] + _MINUTE - now) > 0:
            return math.ceil(left)
        _forget(self._recent, now - _SECOND)
        return 1 if len(self._recent) >= self._per_second and not known else None

    def miss(self, address: str, now: float) -> None:
        """Count a miss."""
        self._recent.append(now)
        # Kept in order of the newest miss, so that what is too old is always in front.
        times = self._addresses.pop(address, None) or deque[float](maxlen=self._per_minute)
        times.append(now)
        self._addresses[address] = times
        while (oldest := next(iter(self._addresses))) != address and self._addresses[oldest][-1] <= now - _MINUTE:
            del self._addresses[oldest]


def _forget(times: deque[float], until: float) -> None:
    while times and times[0] <= until:
        times.popleft()
