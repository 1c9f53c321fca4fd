"""Decides whether the end of a transaction, which waits for the disk, runs in the event loop or in the writer's thread.

A hand-over to a thread costs more than a small commit on a fast disk, and a commit on a slow disk would stop the event loop
for milliseconds. So commits stay inline while they are small and wait little beyond the processor's time. What they wait for
may also be a processor that others use, and then a thread only makes it worse. That comes and goes, while a slow disk makes
every commit slow: the better ones of the latest commits decide. Only inline commits are measured, because one in the thread
also waits for the interpreter's lock; every now and then one of them is therefore inline.

A large commit means that there is more to do while it waits, and what is done meanwhile makes the next one large again.
"""

from collections import deque
from typing import Final

LIMIT: Final = 1e-3
"""Seconds of waiting from which on a commit is slow."""

LATEST: Final = 8
"""Inline commits that are looked at; if only one of them was fast, the disk is slow."""

MANY: Final = 8
"""Changes from which on a commit is large."""

PROBE: Final = 64
"""Commits in the thread after which one is tried inline."""


class Pace:
    """How long the latest commits waited for the disk."""

    def __init__(self) -> None:
        self._waits = deque([0.0] * LATEST, maxlen=LATEST)
        self._slow = False
        self._aside = 0

    def inline(self, size: int = 1) -> bool:
        """Tell whether the next commit, of so many changes, should run in the event loop."""
        if not self._slow:
            return size < MANY
        self._aside += 1
        return self._aside % PROBE == 0

    def record(self, waited: float) -> None:
        """Learn that an inline commit waited for ``waited`` seconds. After slow ones a single fast one is believed."""
        self._waits.append(waited)
        fast = sum(wait < LIMIT for wait in self._waits)
        self._slow = waited >= LIMIT and fast <= 1
