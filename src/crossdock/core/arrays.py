"""Arrays: one job that stands for many members, which cost bits until they run.

Members are leased in chunks. How many go into a chunk follows from how long members took so far, so that a chunk keeps
its worker busy for about a second: long members travel alone, short ones by the thousand.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from crossdock.core.bitmaps import Bitmaps
from crossdock.core.changes import SEGMENT, MemberResult, Segment
from crossdock.core.jobs import ArraySpec, Tally
from crossdock.core.lifecycle import State
from crossdock.core.tables import Rows

CHUNK_SECONDS: Final = 1.0


class ArrayRun:
    """An unfinished array: which members are to be done, are leased, and have ended.

    ``rows`` are the rows of the table, for arrays that have one. ``queued`` says that the array stands in the ready queue,
    ``noted`` when (monotonic seconds) its progress was last written to its log.
    """

    def __init__(self, job: int, spec: ArraySpec, segments: Iterable[Segment] = ()) -> None:
        self.job = job
        self.spec = spec
        self.rows: Rows | None = None
        self.leased = 0
        self.queued = False
        self.noted = 0.0
        self._cursor = 0
        self._again: deque[int] = deque()
        self._bits = Bitmaps(segments)
        self._seconds: float | None = None

    @property
    def tally(self) -> Tally:
        """The counts so far."""
        ended = self._bits.counts
        return Tally(self.spec.count, ended[State.SUCCEEDED], ended[State.FAILED], ended[State.CANCELLED])

    @property
    def done(self) -> bool:
        """Whether every member has ended."""
        return sum(self._bits.counts.values()) == self.spec.count

    def available(self) -> bool:
        """Tell whether there are members to lease."""
        return bool(self._again) or self._cursor < self.spec.count

    def chunk_size(self, slots: int) -> int:
        """Return how many members the next chunk should have, with this many slots sharing the work."""
        left = self.spec.count - sum(self._bits.counts.values())
        fair = -(-left // max(1, 2 * slots))
        fast = 1 if self._seconds is None else int(CHUNK_SECONDS / max(self._seconds, CHUNK_SECONDS / SEGMENT))
        return max(1, min(SEGMENT, fair, fast))

    def take(self, size: int) -> tuple[int, ...]:
        """Return up to ``size`` positions to lease now; they are leased from then on."""
        if self._again:
            taken = tuple(self._again.popleft() for _ in range(min(size, len(self._again))))
        else:
            taken = self._advance(size)
        self.leased += len(taken)
        return taken

    def give_back(self, indexes: Iterable[int]) -> None:
        """Make leased members available again without counting an attempt."""
        for index in indexes:
            self.leased -= 1
            self._again.append(index)

    def delay(self, index: int) -> int:
        """Count an attempt of a leased member that will be tried again later; return the number of attempts so far."""
        self.leased -= 1
        return self._bits.count_attempt(index)

    def resume(self, index: int) -> None:
        """Make a delayed member available."""
        self._again.append(index)

    def attempts(self, index: int) -> int:
        """Return how many attempts of a member have ended without ending the member."""
        return self._bits.attempts(index)

    def end(self, results: Iterable[MemberResult]) -> None:
        """Record the ends of leased members."""
        self.leased -= self._bits.mark(results)

    def learn(self, seconds: float, members: int) -> None:
        """Learn from a finished chunk how long a member takes."""
        each = seconds / max(1, members)
        self._seconds = each if self._seconds is None else 0.5 * self._seconds + 0.5 * each

    def cancel_rest(self) -> None:
        """Count every member that has not ended as cancelled."""
        ended = self._bits.counts
        ended[State.CANCELLED] = self.spec.count - ended[State.SUCCEEDED] - ended[State.FAILED]

    def image(self, number: int) -> Segment:
        """Return what has to be on disk about a segment."""
        return self._bits.image(self.job, number)

    def _advance(self, size: int) -> tuple[int, ...]:
        while size and self._cursor < self.spec.count:
            start = self._cursor
            end = min(start + size, self.spec.count, (start // SEGMENT + 1) * SEGMENT)
            self._cursor = end
            taken = self._bits.unended(start, end)
            if taken:
                return taken
        return ()


class Chunk:
    """The members of one lease that have not been reported yet, in the order in which they run."""

    __slots__ = ("left", "since", "size")

    def __init__(self, indexes: Iterable[int], since: float) -> None:
        self.left = dict.fromkeys(indexes)
        self.size = len(self.left)
        self.since = since
