"""Jobs that no attached worker could ever take: after a time their clients are told, if their kind says so."""

from typing import Final

from crossdock.core.agenda import Errand, Now
from crossdock.core.jobs import Requirements
from crossdock.core.scheduler import Scheduler

_LOOKS: Final = 20
"""How often a class is looked at within its timeout."""


class Stranded:
    """Watches the requirement classes that have jobs and no worker.

    Args:
        scheduler: knows the queue, the workers and the policies.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._since: dict[Requirements, float] = {}
        self._next = 0.0

    def look(self, now: Now) -> None:
        """Put an errand on the agenda for each job of a class that has had no worker for as long as its kind allows."""
        if now.mono < self._next:
            return
        self._next = now.mono + 1.0
        scheduler = self._scheduler
        without = [classes for classes in scheduler.ready.classes() if not scheduler.fleet.learn(classes)]
        self._since = {classes: self._since.get(classes, now.mono) for classes in without}
        for classes, since in self._since.items():
            timeout = self._timeout(classes)
            if timeout is not None and now.mono - since >= timeout:
                scheduler.agenda.add(Errand(job, "unroutable") for job in scheduler.ready.ids(classes))
                self._since[classes] += timeout / _LOOKS

    def _timeout(self, classes: Requirements) -> float | None:
        name = dict(classes)["kind"]
        kind = self._scheduler.kinds.get(name)
        return None if kind is None else kind.policy.unroutable_timeout
