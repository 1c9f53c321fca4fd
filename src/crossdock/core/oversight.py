"""The operators' door of the broker: who works here, and why a job does not run."""

from crossdock.core.desk import Desk
from crossdock.core.dispatch import worker_topic
from crossdock.core.jobs import Job, Requirements
from crossdock.core.lifecycle import TERMINAL, State
from crossdock.core.matching import class_of, requirement_class
from crossdock.core.needs import waiting_for
from crossdock.core.requests import WorkerView


class BrokerOversight:
    """Implements :class:`~crossdock.core.ports.Oversight`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._fleet = desk.scheduler.fleet

    def workers(self) -> list[WorkerView]:
        """Return the attached workers."""
        return [worker.view() for worker in self._fleet]

    def drain(self, worker: str) -> None:
        """Give a worker no more work; what it runs goes on."""
        self._fleet.get(worker).draining = True
        self._fleet.busy(worker)
        self._desk.signals.notify(worker_topic(worker))

    def serves(self, kind: str, requirements: Requirements) -> bool:
        """Tell whether an attached worker, free or not, could take jobs of a kind with these requirements."""
        return bool(self._fleet.learn(requirement_class(kind, requirements)))

    def explain(self, job: Job) -> str:
        """Say in a sentence why a job is not running."""
        if job.state in TERMINAL:
            return f"it has {job.state}" if job.state is not State.CANCELLED else "it was cancelled"
        if job.state is State.LEASED:
            return "it is running"
        if job.state is State.WAITING and (unmet := self._desk.scheduler.dependencies.unmet(job.id)):
            return waiting_for(job, unmet, self._desk.scheduler.kinds.get(job.kind))
        if job.state is State.WAITING:
            return "it waits for its time"
        requirements = class_of(job)
        queued = self._desk.scheduler.ready.size(requirements)
        return f"{self._fleet.explain(requirements)}; {queued} job(s) of this class are queued"
