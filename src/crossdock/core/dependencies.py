"""Which jobs wait for which others."""

from collections.abc import Collection, Iterable

from crossdock.core.agenda import Agenda, Errand


class Dependencies:
    """The unfinished parents of waiting jobs. What follows from an end is put on the agenda."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._children: dict[int, list[int]] = {}
        self._unmet: dict[int, set[int]] = {}

    def depend(self, job: int, parents: Iterable[int]) -> None:
        """Let a job wait for others."""
        for parent in dict.fromkeys(parents):
            self._unmet.setdefault(job, set()).add(parent)
            self._children.setdefault(parent, []).append(job)

    def blocked(self, job: int) -> bool:
        """Tell whether a job still waits for other jobs."""
        return job in self._unmet

    def unmet(self, job: int) -> Collection[int]:
        """Return the jobs that a job still waits for, in no order."""
        return self._unmet.get(job, frozenset())

    def wanted(self, parent: int) -> bool:
        """Tell whether a job still waits for this one."""
        return any(parent in self._unmet.get(child, ()) for child in self._children.get(parent, ()))

    def forget(self, job: int) -> None:
        """Let a job wait for nothing any more: it has ended, or never was."""
        self._unmet.pop(job, None)

    def ended(self, parent: int, *, succeeded: bool, entering: Collection[int]) -> None:
        """Tell the children of a job that it has ended; those that are being written will look themselves."""
        for child in self._children.pop(parent, ()):
            if child not in entering:
                self.release(child, parent, succeeded=succeeded)

    def release(self, child: int, parent: int, *, succeeded: bool) -> None:
        """Let a job that is on disk know that one of its parents has ended; saying it twice is harmless."""
        unmet = self._unmet.get(child)
        if unmet is None:
            return
        if not succeeded:
            self._agenda.add((Errand(child, "dependency_failed", parent),))
            return
        unmet.discard(parent)
        if not unmet:
            del self._unmet[child]
            self._agenda.add((Errand(child, "parents"),))
