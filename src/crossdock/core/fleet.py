"""The attached workers: what they can do, what they hold, and which of them waits for work."""

from collections.abc import Collection, Iterator
from itertools import count

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Requirements
from crossdock.core.matching import matches, unmet
from crossdock.core.requests import WorkerInfo, WorkerView


class Worker:
    """A worker as the broker sees it. ``classes`` caches the requirement classes it was found to match."""

    __slots__ = ("classes", "draining", "idle_since", "info", "seen", "tokens")

    def __init__(self, info: WorkerInfo, wall: float) -> None:
        self.info = info
        self.tokens: set[int] = set()
        self.classes: list[Requirements] = []
        self.draining = False
        self.seen = wall
        self.idle_since: float | None = wall

    def view(self) -> WorkerView:
        """Return what operators see."""
        return WorkerView(
            info=self.info,
            leases=tuple(sorted(self.tokens)),
            draining=self.draining,
            seen=self.seen,
            idle_since=self.idle_since,
        )


class Fleet:
    """All workers. A worker and a requirement class are compared once, when either appears."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._by_class: dict[Requirements, dict[str, Worker]] = {}
        self._tickets = count()
        self._waiting: dict[int, str] = {}
        """Workers by the tickets of their claims: one whose connection broke may wait twice for a moment."""

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def get(self, worker: str) -> Worker:
        """Return a worker.

        Raises:
            CrossdockError: ``not_found`` if it is not attached.
        """
        found = self._workers.get(worker)
        if found is None:
            raise CrossdockError(Code.NOT_FOUND, f"the worker {worker[:80]!r} is not attached; attach first")
        return found

    def find(self, worker: str | None) -> Worker | None:
        """Return a worker if it is attached."""
        return self._workers.get(worker) if worker is not None else None

    def attach(self, info: WorkerInfo, wall: float) -> Worker:
        """Add a worker, or replace what is known of it; what it holds stays."""
        worker = self._workers.get(info.id)
        if worker is None:
            worker = self._workers[info.id] = Worker(info, wall)
        else:
            self._forget_matches(worker)
            worker.info, worker.seen = info, wall
        for requirements, matching in self._by_class.items():
            if matches(requirements, info.capabilities):
                matching[info.id] = worker
                worker.classes.append(requirements)
        return worker

    def detach(self, worker: str) -> Worker | None:
        """Remove a worker and return it."""
        self.busy(worker)
        gone = self._workers.pop(worker, None)
        if gone is not None:
            self._forget_matches(gone)
        return gone

    def silent(self, since: float) -> list[str]:
        """Return the workers outside this process that hold nothing and have not been heard of since (1970 seconds)."""
        workers = self._workers.values()
        return [w.info.id for w in workers if not w.tokens and w.seen < since and not w.info.local]

    def learn(self, requirements: Requirements) -> dict[str, Worker]:
        """Return the workers that match a class, comparing it with all workers the first time."""
        matching = self._by_class.get(requirements)
        if matching is None:
            matching = self._by_class[requirements] = {}
            for worker in self._workers.values():
                if matches(requirements, worker.info.capabilities):
                    matching[worker.info.id] = worker
                    worker.classes.append(requirements)
        return matching

    def forget_classes(self, live: Collection[Requirements]) -> None:
        """Drop what is known of classes that no queued job has, once there are many of them."""
        if len(self._by_class) < 1000 + 2 * len(live):
            return
        for requirements in self._by_class.keys() - live:
            del self._by_class[requirements]
        for worker in self._workers.values():
            worker.classes = [requirements for requirements in worker.classes if requirements in self._by_class]

    def wait(self, worker: str) -> int:
        """Note that a claim of a worker waits for work; return its ticket for :meth:`leave`."""
        ticket = next(self._tickets)
        self._waiting[ticket] = worker
        return ticket

    def leave(self, ticket: int) -> bool:
        """Note that a claim waits no more; False if it did not already, because it was chosen for a job."""
        return self._waiting.pop(ticket, None) is not None

    def busy(self, worker: str) -> None:
        """Choose a worker for nothing any more, although claims of it may wait."""
        for ticket in [ticket for ticket, name in self._waiting.items() if name == worker]:
            del self._waiting[ticket]

    def wake(self, requirements: Requirements) -> str | None:
        """Choose a waiting worker for a job of a class, the longest waiting first; that claim waits no more."""
        matching = self.learn(requirements)
        if not matching or not self._waiting:
            return None
        for ticket, worker in self._waiting.items():
            if worker in matching:
                del self._waiting[ticket]
                return worker
        return None

    def explain(self, requirements: Requirements) -> str:
        """Say which workers could take a job of a class, or what none of them offers."""
        capable = self.learn(requirements)
        if capable:
            free = [w for w in capable.values() if not w.draining and len(w.tokens) < w.info.slots]
            return f"{len(capable)} worker(s) can run it, {len(free)} of them free"
        if not self._workers:
            return "no worker is attached"
        missing = min((unmet(requirements, w.info.capabilities) for w in self._workers.values()), key=len)
        return "no worker offers " + " and ".join(f"{name}={value}" for name, value in missing)

    def _forget_matches(self, worker: Worker) -> None:
        for requirements in worker.classes:
            matching = self._by_class.get(requirements)
            if matching is not None:
                matching.pop(worker.info.id, None)
        worker.classes = []
