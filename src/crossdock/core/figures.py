"""Figures of a broker, for metrics: what waits, what runs, and how jobs ended."""

from msgspec import Struct

from crossdock.core.desk import Desk
from crossdock.core.identifiers import issued_at
from crossdock.core.lifecycle import State


class Stats(Struct, frozen=True, kw_only=True):
    """What is going on now: counts by kind, slots of workers, and how jobs of this process ended.

    ``oldest`` is the age in seconds of the oldest queued job, None without one; ``full`` says that the disk is.
    """

    queued: dict[str, int]
    running: dict[str, int]
    slots: int
    oldest: float | None
    finished: dict[tuple[str, State], int]
    full: bool


def count(desk: Desk, *, full: bool) -> Stats:
    """Return the figures of now; what they cost does not grow with the number of jobs."""
    scheduler = desk.scheduler
    queued: dict[str, int] = {}
    for requirements in scheduler.ready.classes():
        kind = dict(requirements)["kind"]
        queued[kind] = queued.get(kind, 0) + scheduler.ready.size(requirements)
    running: dict[str, int] = {}
    for record in desk.leases.records.values():
        job = scheduler.shelf.get(record.job)
        if job is not None:
            running[job.kind] = running.get(job.kind, 0) + 1
    oldest = scheduler.ready.oldest()
    return Stats(
        queued=queued,
        running=running,
        slots=sum(worker.info.slots for worker in scheduler.fleet),
        oldest=None if oldest is None else max(0.0, desk.clock.wall() - issued_at(oldest)),
        finished=dict(scheduler.finished),
        full=full,
    )
