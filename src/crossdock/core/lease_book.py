"""Which leases there are: by token, by job, and by the time at which the next of them may end."""

from typing import Final

from msgspec import Struct

from crossdock.core.agenda import Now
from crossdock.core.arrays import Chunk
from crossdock.core.jobs import OutcomeKind

_MARGIN: Final = 5.0
"""Seconds by which the broker lets an attempt exceed its limits before it acts itself: the worker should have."""


class LeaseRecord(Struct, gc=False, eq=False):
    """What the broker keeps about a lease. Times are of the monotonic clock."""

    token: int
    job: int
    worker: str
    length: float
    deadline: float
    local: bool = False
    ends: float | None = None
    cancelled: bool = False
    chunk: Chunk | None = None

    @property
    def due(self) -> float:
        """When the lease ends if nobody says anything. Local workers cannot be lost: they share the broker's fate."""
        ends = float("inf") if self.ends is None else self.ends
        return ends if self.local else min(self.deadline, ends)


class LeaseBook:
    """All leases of a broker."""

    def __init__(self) -> None:
        self.records: dict[int, LeaseRecord] = {}
        self._by_job: dict[int, set[int]] = {}
        self._earliest = float("inf")
        """No lease ends before this time; renewals do not move it."""

    def enter(self, record: LeaseRecord) -> LeaseRecord:
        """Add a lease and return it."""
        self.records[record.token] = record
        self._by_job.setdefault(record.job, set()).add(record.token)
        self._earliest = min(self._earliest, record.due)
        return record

    def strike(self, record: LeaseRecord) -> None:
        """Take a lease out."""
        del self.records[record.token]
        tokens = self._by_job[record.job]
        tokens.discard(record.token)
        if not tokens:
            del self._by_job[record.job]

    def of_job(self, job: int) -> list[LeaseRecord]:
        """Return the leases of a job, the oldest first."""
        return [self.records[token] for token in sorted(self._by_job.get(job, ()))]

    def limit(self, record: LeaseRecord, seconds: float, now: Now) -> None:
        """Let a lease end a little after ``seconds``, whatever its worker says; an earlier end stays."""
        ends = now.mono + seconds + _MARGIN
        record.ends = ends if record.ends is None else min(record.ends, ends)
        self._earliest = min(self._earliest, ends)

    def forgive(self, seconds: float) -> None:
        """Extend all leases by a time in which the broker could hear nobody, however alive they were."""
        for record in self.records.values():
            record.deadline += seconds
            if record.ends is not None:
                record.ends += seconds
        self._earliest += seconds

    def overdue(self, now: Now) -> list[tuple[LeaseRecord, OutcomeKind]]:
        """Return the leases whose time has run out, and why. They are looked at only when one of them may be due."""
        if now.mono < self._earliest:
            return []
        self._earliest = min((record.due for record in self.records.values()), default=float("inf"))
        return [(record, _reason(record, now)) for record in self.records.values() if now.mono >= record.due]


def _reason(record: LeaseRecord, now: Now) -> OutcomeKind:
    """Return why a lease ends that is due."""
    if record.cancelled:
        return OutcomeKind.CANCELLED
    return OutcomeKind.TIMED_OUT if record.ends is not None and now.mono >= record.ends else OutcomeKind.LOST
