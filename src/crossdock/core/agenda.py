"""The agenda: what has to be done for which job, now or at a time of the monotonic clock."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from msgspec import Struct

_LIMITS: Final = frozenset({"queue_timeout", "total_timeout"})
_MANY: Final = 1000


class Now(Struct, frozen=True, gc=False):
    """The time: ``wall`` in seconds since 1970, ``mono`` in seconds that never go back."""

    wall: float
    mono: float


class Errand(Struct, frozen=True, gc=False, order=True):
    """Something that is due for a job whose snapshot has to be fetched first: see ``errands.py``.

    ``index`` is the member of an array, or the other job, that it is about.
    """

    job: int
    what: str
    index: int = -1


class Agenda:
    """Errands in the order of time."""

    def __init__(self) -> None:
        self._soon: list[Errand] = []
        self._timers: list[tuple[float, Errand]] = []
        self._limited: set[int] = set()
        self._idle = 0
        """How many timers are limits of jobs that have ended, at least."""

    def add(self, errands: Iterable[Errand]) -> None:
        """Do errands as soon as possible."""
        self._soon += errands

    def remind(self, mono: float, errand: Errand) -> None:
        """Do an errand at a time of the monotonic clock."""
        heappush(self._timers, (mono, errand))

    def limit(self, job: int, queue_timeout: float | None, total_timeout: float | None, age: float, now: Now) -> None:
        """Remember the times by which a job that is ``age`` seconds old has to be leased first, and to end."""
        if queue_timeout is not None:
            self.remind(now.mono + queue_timeout - age, Errand(job, "queue_timeout"))
        if total_timeout is not None:
            self.remind(now.mono + total_timeout - age, Errand(job, "total_timeout"))
        if queue_timeout is not None or total_timeout is not None:
            self._limited.add(job)

    def release(self, job: int) -> None:
        """Limit a job no more: it has ended. Its timers are thrown away with others, once they are most of all."""
        if job not in self._limited:
            return
        self._limited.discard(job)
        self._idle += 1
        if self._idle > max(_MANY, len(self._timers) // 2):
            self._timers = [timer for timer in self._timers if self._live(timer[1])]
            heapify(self._timers)
            self._idle = 0

    def _live(self, errand: Errand) -> bool:
        return errand.what not in _LIMITS or errand.job in self._limited

    def next(self) -> float:
        """Return the monotonic time at which there is something to do, infinity if never."""
        if self._soon:
            return 0.0
        return self._timers[0][0] if self._timers else float("inf")

    def due(self, now: Now) -> list[Errand]:
        """Return what has to be done by now, and forget it."""
        due, self._soon = self._soon, []
        while self._timers and self._timers[0][0] <= now.mono:
            errand = heappop(self._timers)[1]
            if self._live(errand):
                due.append(errand)
            elif self._idle:
                self._idle -= 1
        return due
