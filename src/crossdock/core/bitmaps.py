"""Which members of an array have ended, and how: three bits a member, in segments that exist once something happens."""

from collections.abc import Iterable
from typing import Final

from crossdock.core.changes import SEGMENT, MemberResult, Segment
from crossdock.core.lifecycle import State

_BYTES: Final = SEGMENT // 8


class _Bits:
    """One segment; ``attempts`` counts those of members that were tried and have not ended."""

    __slots__ = ("attempts", "cancelled", "failed", "succeeded")

    def __init__(self) -> None:
        self.succeeded = bytearray(_BYTES)
        self.failed = bytearray(_BYTES)
        self.cancelled = bytearray(_BYTES)
        self.attempts: dict[int, int] = {}

    def of(self, state: State) -> bytearray:
        if state is State.SUCCEEDED:
            return self.succeeded
        return self.failed if state is State.FAILED else self.cancelled

    def ended(self, index: int) -> bool:
        byte, bit = index >> 3, 1 << (index & 7)
        return bool((self.succeeded[byte] | self.failed[byte] | self.cancelled[byte]) & bit)


class Bitmaps:
    """All segments of one array. ``counts`` says how many members ended in each way."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.counts = {State.SUCCEEDED: 0, State.FAILED: 0, State.CANCELLED: 0}
        self._segments: dict[int, _Bits] = {}
        for segment in segments:
            self._restore(segment)

    def unended(self, start: int, end: int) -> tuple[int, ...]:
        """Return the positions from ``start`` to ``end`` (exclusive), all in one segment, whose members have not ended."""
        bits = self._segments.get(start // SEGMENT)
        if bits is None:
            return tuple(range(start, end))
        return tuple(index for index in range(start, end) if not bits.ended(index % SEGMENT))

    def attempts(self, index: int) -> int:
        """Return how many attempts of a member have ended without ending the member."""
        bits = self._segments.get(index // SEGMENT)
        return bits.attempts.get(index % SEGMENT, 0) if bits else 0

    def count_attempt(self, index: int) -> int:
        """Count an attempt that did not end its member; return the number so far."""
        attempts = self._segment(index // SEGMENT).attempts
        offset = index % SEGMENT
        attempts[offset] = attempts.get(offset, 0) + 1
        return attempts[offset]

    def mark(self, results: Iterable[MemberResult]) -> int:
        """Record the ends of members; return how many there were."""
        count = 0
        for result in results:
            number, offset = divmod(result.index, SEGMENT)
            bits = self._segments.get(number) or self._segment(number)
            bits.of(result.state)[offset >> 3] |= 1 << (offset & 7)
            if bits.attempts:
                bits.attempts.pop(offset, None)
            self.counts[result.state] += 1
            count += 1
        return count

    def image(self, job: int, number: int) -> Segment:
        """Return what has to be on disk about a segment."""
        bits = self._segment(number)
        return Segment(job, number, bytes(bits.succeeded), bytes(bits.failed), bytes(bits.cancelled), dict(bits.attempts))

    def _segment(self, number: int) -> _Bits:
        bits = self._segments.get(number)
        if bits is None:
            bits = self._segments[number] = _Bits()
        return bits

    def _restore(self, segment: Segment) -> None:
        bits = self._segment(segment.number)
        bits.succeeded[:] = segment.succeeded
        bits.failed[:] = segment.failed
        bits.cancelled[:] = segment.cancelled
        bits.attempts = dict(segment.attempts)
        for state in self.counts:
            self.counts[state] += int.from_bytes(bits.of(state), "big").bit_count()


def positions(bitmap: bytes, number: int) -> list[int]:
    """Return the positions of the members whose bits are set in a bitmap of segment ``number``."""
    base = number * SEGMENT
    return [base + 8 * i + bit for i, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1]
