"""What a broker writes and what it reads back at a start: the vocabulary between the core and its stores."""

from collections.abc import Sequence

from msgspec import Struct

from crossdock.core.jobs import Document, Job, Requirements, Tally
from crossdock.core.lifecycle import State
from crossdock.core.requests import Entry, Notification, Record

SEGMENT = 1024
"""Members of an array per segment: the unit of its bitmaps, of its blocks of outcomes, and the largest leased chunk."""


class Transition(Struct, frozen=True, gc=False):
    """A job's new snapshot, to be written only over one of the states ``sources``."""

    job: Job
    sources: frozenset[State]


class Segment(Struct, frozen=True, gc=False):
    """How far 1024 consecutive members of an array are.

    ``succeeded``, ``failed`` and ``cancelled`` are bitmaps of 128 bytes, member i at bit ``i & 7`` of byte ``i >> 3``.
    ``attempts`` counts the leases of members that were tried and have not ended.
    """

    job: int
    number: int
    succeeded: bytes
    failed: bytes
    cancelled: bytes
    attempts: dict[int, int]


class MemberResult(Struct, frozen=True, gc=False, array_like=True):
    """The end of one member: position, state, result or code and message, and the number of attempts it took."""

    index: int
    state: State
    attempt: int
    result: Document | None = None
    code: str = ""
    message: str = ""


class Block(Struct, frozen=True, gc=False):
    """Outcomes of some members of one segment, written together."""

    job: int
    segment: int
    results: tuple[MemberResult, ...]


class ArrayImage(Struct, frozen=True):
    """What is on disk about an array's members: segments that nothing happened to are missing."""

    segments: tuple[Segment, ...]


class Pending(Struct, frozen=True, gc=False, kw_only=True):
    """What a starting broker has to know of an unfinished job; leased jobs, arrays and dependents are then read whole."""

    id: int
    kind: str
    state: State
    requirements: Requirements
    priority: int
    tenant: str
    created: float
    due: float | None
    queue_timeout: float | None
    total_timeout: float | None
    special: bool


class Boot(Struct, frozen=True, gc=False):
    """What a store says when it is opened: the epoch of this start (it grows), and the greatest ids ever issued."""

    epoch: int
    last_job: int
    last_notification: int


class Admission(Struct):
    """New jobs that are accepted together or not at all, with the records that belong to them."""

    jobs: Sequence[Job]
    records: Sequence[Record] = ()
    batch: tuple[int, str, int] | None = None
    """Id, tenant and size of a new batch."""


class Group(Struct):
    """Changes that are committed together. What belongs to an admission is inside that.

    ``entries`` are those of event logs that no snapshot tells. Empty defaults of a Struct are fresh for each object.
    """

    admissions: list[Admission] = []
    transitions: dict[int, Transition] = {}
    entries: list[Entry] = []
    tallies: dict[int, Tally] = {}
    """Increments of the counts of batches."""
    notifications: dict[int, Notification] = {}
    delivered: set[int] = set()
    records: dict[tuple[str, str], Record | None] = {}
    """None deletes."""
    segments: dict[tuple[int, int], Segment] = {}
    blocks: list[Block] = []

    def empty(self) -> bool:
        """Tell whether there is nothing to commit."""
        return not (
            self.admissions
            or self.transitions
            or self.entries
            or self.notifications
            or self.delivered
            or self.records
            or self.segments
            or self.blocks
        )

    def size(self) -> int:
        """Return about how much there is to write."""
        jobs = sum(len(admission.jobs) for admission in self.admissions)
        return jobs + len(self.transitions) + len(self.entries) + len(self.segments) + len(self.blocks)

    def add_tally(self, batch: int, tally: Tally) -> None:
        """Add to the increments of a batch's counts."""
        old = self.tallies.get(batch, Tally())
        self.tallies[batch] = Tally(
            0, old.succeeded + tally.succeeded, old.failed + tally.failed, old.cancelled + tally.cancelled
        )
