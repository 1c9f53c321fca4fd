"""What goes wrong at the doors, counted and logged, however much of it there is."""

from collections import Counter
from collections.abc import Callable
from typing import Final

_LINES: Final = 10
"""Log lines about peers that one second may have; the rest is only counted."""
_SHOWN: Final = 200


class Counters:
    """Counts of what went wrong, for metrics, and log lines that a flood of nonsense cannot turn into a flood of its own.

    Args:
        monotonic: seconds that never go back.
        warn: writes a log line: what happened, and what is known of it by names.
    """

    def __init__(self, monotonic: Callable[[], float], warn: Callable[..., object]) -> None:
        self.values: Counter[str] = Counter()
        self._monotonic = monotonic
        self._warn = warn
        self._second = 0.0
        self._written = 0
        self._silent = 0

    def count(self, name: str, number: int = 1) -> None:
        """Count something that needs no log line."""
        self.values[name] += number

    def complain(self, name: str, reason: str, **about: str) -> None:
        """Count what a peer did wrong, and log it. ``reason`` and ``about`` may quote it; only their beginning is shown."""
        self.values[name] += 1
        now = self._monotonic()
        if now - self._second >= 1.0:
            if self._silent:
                self._warn("more nonsense came than is logged", unlogged=self._silent)
            self._second, self._written, self._silent = now, 0, 0
        self._written += 1
        if self._written > _LINES:
            self._silent += 1
            return
        self._warn(name, reason=reason[:_SHOWN], **{key: text[:_SHOWN] for key, text in about.items()})
