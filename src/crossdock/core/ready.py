"""The ready queue: ids and their order, in memory.

A job waits in the *lane* of its requirement class and priority. Inside a priority tenants take turns by weight (stride
scheduling: each job served moves its tenant's virtual time forward by 1 / weight, and the tenant that is furthest behind
is next); inside a tenant the oldest job goes first. A tenant that comes back from idleness starts at the present virtual
time, so nobody saves up turns, and no tenant with work waits while another is served twice as much as its due. Tenants
that are equally far are served in turns: a class that is served faster than theirs moves the present past all of them.

A claim looks at each class the worker matches once, and again for each of its jobs only where tenants share a lane; else a
job costs a heap operation over the classes. The length of the queue does not matter.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import chain
from typing import Final

from crossdock.core.jobs import Requirements

_MANY: Final = 10_000

_Rank = tuple[float, int]
"""A tenant's virtual time, and when it was served last: the lowest is next."""


class _Turns:
    """The ranks of the tenants inside one priority; the rank of a tenant never goes down."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.present = 0.0
        self._weights = weights
        self._served = 0
        self._ranks: dict[str, _Rank] = {}

    def rank(self, tenant: str) -> _Rank:
        time, served = self._ranks.get(tenant, (0.0, 0))
        return max(time, self.present), served

    def serve(self, tenant: str, jobs: int = 1) -> None:
        step = 1.0 / self._weights.get(tenant, 1.0)
        self.present = self.rank(tenant)[0] + (jobs - 1) * step
        self._served += jobs
        self._ranks[tenant] = self.present + step, self._served
        if len(self._ranks) > _MANY:
            self._ranks = {name: rank for name, rank in self._ranks.items() if rank[0] > self.present}


class _Lane:
    """The jobs of one class and priority, by tenant."""

    def __init__(self, turns: _Turns) -> None:
        self._turns = turns
        self._queues: dict[str, deque[int]] = {}
        self._heap: list[tuple[_Rank, str]] = []

    @property
    def shared(self) -> bool:
        """Whether several tenants have jobs here."""
        return len(self._heap) > 1

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._queues.values())

    def push(self, tenant: str, job: int, first: bool) -> None:
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            heappush(self._heap, (self._turns.rank(tenant), tenant))
        if first:
            queue.appendleft(job)
        else:
            queue.append(job)

    def head(self) -> tuple[_Rank, int, str] | None:
        """Return the rank, the job and the tenant that is next, bringing old entries of the heap up to date."""
        while self._heap:
            rank, tenant = self._heap[0]
            queue = self._queues.get(tenant)
            if not queue:
                heappop(self._heap)
                self._queues.pop(tenant, None)
                continue
            current = self._turns.rank(tenant)
            if len(self._heap) > 1 and current > rank:
                heappop(self._heap)
                heappush(self._heap, (current, tenant))
                continue
            return current, queue[0], tenant
        return None

    def serve(self, tenant: str) -> None:
        self._queues[tenant].popleft()
        self._turns.serve(tenant)

    def drop(self, tenant: str) -> None:
        self._queues[tenant].popleft()

    def following(self, tenant: str) -> int | None:
        """Drop a tenant's next job and return the one after it. What was served is said later, by :meth:`served`."""
        queue = self._queues[tenant]
        queue.popleft()
        return queue[0] if queue else None

    def served(self, tenant: str, jobs: int) -> None:
        self._turns.serve(tenant, jobs)


class _Class:
    """The jobs of one requirement class: a lane for each priority, and how many jobs they hold that were not removed."""

    __slots__ = ("lanes", "requirements", "size")

    def __init__(self, requirements: Requirements) -> None:
        self.requirements = requirements
        self.lanes: dict[int, _Lane] = {}
        self.size = 0


_Group = list[tuple[int, _Class, _Lane]]
"""The next jobs of some classes, of one priority and one tenant, as a heap."""
_Heads = dict[tuple[int, str], _Group]
"""The next jobs of some classes by priority and tenant. Nobody queues anything while a claim uses it."""


class ReadyQueue:
    """Which job is next for a worker that matches given classes.

    Args:
        weights: the shares of tenants (1 for those not named); a tenant of weight 2 is served twice as often as one of 1.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._turns: dict[int, _Turns] = {}
        self._classes: dict[Requirements, _Class] = {}
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return sum(queued.size for queued in self._classes.values())

    def size(self, requirements: Requirements) -> int:
        """Return the number of jobs queued in a class."""
        queued = self._classes.get(requirements)
        return 0 if queued is None else queued.size

    def ids(self, requirements: Requirements) -> Iterator[int]:
        """Return the jobs queued in a class, in no order that means anything."""
        queued = self._classes.get(requirements)
        lanes = () if queued is None else queued.lanes.values()
        return (job for lane in lanes for job in lane if job not in self._gone)

    def classes(self) -> Collection[Requirements]:
        """Return the classes that have jobs."""
        return self._classes.keys()

    def push(self, requirements: Requirements, priority: int, tenant: str, job: int, *, first: bool = False) -> None:
        """Queue a job; ``first`` puts it before the tenant's others (for work that is handed back).

        A job that was removed must not be queued again.
        """
        queued = self._classes.get(requirements)
        if queued is None:
            queued = self._classes[requirements] = _Class(requirements)
        lane = queued.lanes.get(priority)
        if lane is None:
            turns = self._turns.get(priority)
            if turns is None:
                turns = self._turns[priority] = _Turns(self._weights)
            lane = queued.lanes[priority] = _Lane(turns)
        lane.push(tenant, job, first)
        queued.size += 1

    def remove(self, requirements: Requirements, job: int) -> None:
        """Take a queued job out wherever it stands; it must be in the queue. The place is freed when it comes up."""
        self._gone.add(job)
        self._classes[requirements].size -= 1

    def pop(self, classes: Sequence[Requirements]) -> int | None:
        """Return the next job for a worker that matches ``classes``, None if there is none."""
        taken = self.take(classes, 1)
        return taken[0] if taken else None

    def take(self, classes: Sequence[Requirements], limit: int) -> deque[int]:
        """Return up to ``limit`` next jobs for a worker that matches ``classes``."""
        taken: deque[int] = deque()
        heads = self._heads(classes)
        shared = any(lane.shared for group in heads.values() for _, _, lane in group)
        while heads and len(taken) < limit:
            priority, tenant = self._first(heads)
            group = heads[priority, tenant]
            if len(heads) == 1 and not any(lane.shared for _, _, lane in group):
                emptied = self._take_oldest(group, tenant, limit, taken)
            else:
                job, emptied, lane = heappop(group)
                if job in self._gone:
                    self._gone.discard(job)
                    lane.drop(tenant)
                else:
                    taken.append(job)
                    lane.serve(tenant)
                    emptied.size -= 1
                if shared:  # a turn of one tenant may bring another one's job to the head of any of the lanes
                    heads = self._heads(classes)
                    continue
            if not group:
                del heads[priority, tenant]
            if emptied is not None:
                self._look(emptied, heads)
        return taken

    def _take_oldest(self, group: _Group, tenant: str, limit: int, taken: deque[int]) -> _Class | None:
        """Take jobs of the one tenant and priority there is, until one of the lanes is empty; return the class of that."""
        before = len(taken)
        lane = group[0][2]
        emptied: _Class | None = None
        while emptied is None and len(taken) < limit:
            job, queued, lane = group[0]
            if job in self._gone:
                self._gone.discard(job)
            else:
                taken.append(job)
                queued.size -= 1
            following = lane.following(tenant)
            if following is not None:
                heapreplace(group, (following, queued, lane))
            else:
                emptied = heappop(group)[1]
        if len(taken) > before:
            lane.served(tenant, len(taken) - before)
        return emptied

    def _heads(self, classes: Iterable[Requirements]) -> _Heads:
        heads: _Heads = {}
        for requirements in classes:
            queued = self._classes.get(requirements)
            if queued is not None:
                self._look(queued, heads)
        return heads

    def _look(self, queued: _Class, heads: _Heads) -> None:
        """Add the job that is next in a class."""
        top = self._top(queued)
        if top is not None:
            priority, lane, (_, job, tenant) = top
            heappush(heads.setdefault((priority, tenant), []), (job, queued, lane))

    def _first(self, heads: _Heads) -> tuple[int, str]:
        """Return the priority and tenant whose turn it is; between equals the oldest job decides."""
        if len(heads) == 1:
            return next(iter(heads))
        return min(heads, key=lambda group: (-group[0], self._turns[group[0]].rank(group[1]), heads[group][0][0]))

    def oldest(self) -> int | None:
        """Return the lowest id at the head of any queue: the job that waits longest, or nearly."""
        tops = (self._top(queued) for queued in list(self._classes.values()))
        return min((top[2][1] for top in tops if top is not None), default=None)

    def _top(self, queued: _Class) -> tuple[int, _Lane, tuple[_Rank, int, str]] | None:
        """Return the head of a class's highest priority, clearing away what has become empty."""
        lanes = queued.lanes
        while lanes:
            priority = max(lanes) if len(lanes) > 1 else next(iter(lanes))
            lane = lanes[priority]
            if (head := lane.head()) is not None:
                return priority, lane, head
            del lanes[priority]
        self._classes.pop(queued.requirements, None)
        return None
