"""Snapshots of jobs in memory: those that must be at hand, and a bounded number of recent ones.

A queued job needs no snapshot, only its place in the ready queue, so a million of them cost little. Jobs that run, and
changes that are not on disk yet, stay; the rest of what was touched lately saves reads from the store.
"""

from typing import Final

from crossdock.core.jobs import Job

_OVERHEAD: Final = 1200


class Shelf:
    """Snapshots by job id.

    Args:
        budget: bytes that recent jobs may take, roughly.

    Recent jobs stand in two generations of half the budget. When the younger is full the older is thrown away and the
    younger takes its place: nothing has to be kept in order. Of several snapshots of a job the newest is found first.
    """

    def __init__(self, budget: int = 64 * 1024 * 1024) -> None:
        self._live: dict[int, Job] = {}
        self._recent: dict[int, Job] = {}
        self._older: dict[int, Job] = {}
        self._share = self._room = budget // 2

    def get(self, job: int) -> Job | None:
        """Return the newest snapshot, if it is here."""
        return self._live.get(job) or self._recent.get(job) or self._older.get(job)

    def put(self, job: Job) -> None:
        """Keep a snapshot until :meth:`retire`."""
        self._live[job.id] = job

    def retire(self, job: int) -> None:
        """Make a snapshot one of the recent ones, which may go when room is needed."""
        snapshot = self._live.pop(job, None)
        if snapshot is None:
            return
        self._recent[job] = snapshot
        self._room -= _size(snapshot)
        if self._room < 0:
            self._older, self._recent, self._room = self._recent, {}, self._share

    def drop(self, job: int) -> None:
        """Forget a job."""
        for snapshots in (self._live, self._recent, self._older):
            snapshots.pop(job, None)


def _size(job: Job) -> int:
    payload, result = job.payload, job.result
    return _OVERHEAD + (len(payload) if type(payload) is bytes else 0) + (len(result) if type(result) is bytes else 0)
