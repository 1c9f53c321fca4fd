"""A runner of json-bus on a bus in memory: what it needs of a broker of jobs, and leases to run."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from brokers import Shelves
from clocks import HandClock
from crossdock.core.identifiers import IdSource, encode_id
from crossdock.core.jobs import Lease, Members, Outcome
from crossdock.core.ports import Runner
from crossdock.core.requests import Record
from crossdock.protocols.jsonbus.pushing import Patience
from jsonbus_bus import MemoryBus
from unit.runners.recorder import Recorder

HURRIED = Patience(first=0.001, longest=0.01)
PATIENCE = 10.0
_ids = IdSource()


class Drawers:
    """Records in a dictionary; ``error`` is what writing them raises."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.error: Exception | None = None

    async def get(self, space: str, key: str) -> Record | None:
        await asyncio.sleep(0)
        return self.records.get((space, key))

    async def put(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.records |= {(record.space, record.key): record for record in records}

    async def take(self, space: str, key: str) -> Record | None:
        return self.records.pop((space, key), None)

    def remember(self, record: Record) -> None:
        self.records[record.space, record.key] = record

    def forget(self, space: str, key: str) -> None:
        self.records.pop((space, key), None)


class Scene:
    """What outlives a process: RabbitMQ, the records, the artifacts and the time."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.drawers = Drawers()
        self.artifacts = Shelves()
        self.clock = HandClock()
        self.runner: Any = None

    async def begin(self, runner: Runner) -> None:
        """Start the runner of a process."""
        self.runner = runner
        await runner.start()

    async def kill(self, *runs: "Run") -> None:
        """End the process: what it ran, its consumers and its connection. What nobody accepted is delivered again."""
        for run in runs:
            run.task.cancel()
            await asyncio.wait((run.task,))
        looking_after = self.runner._returns._task
        looking_after.cancel()
        await asyncio.wait((looking_after,))
        for queue in self.bus.queues.values():
            queue.consumers.clear()
            queue.give_back()

    def run(self, lease: Lease) -> "Run":
        """Run a lease."""
        return Run(self.runner, lease)

    @property
    def counted(self) -> dict[str, int]:
        """What the runner has counted."""
        return dict(self.runner.counters.values)

    def settled(self, queue: str) -> list[str]:
        """Return how the deliveries of a queue were settled."""
        return [how for how, delivery in self.bus.settlements if delivery._queue.name == queue]


class Run:
    """A lease that is run."""

    def __init__(self, runner: Runner, lease: Lease) -> None:
        self.lease = lease
        self.attempt = Recorder()
        self.task = asyncio.create_task(runner.run(lease, self.attempt))

    @property
    def name(self) -> str:
        """The job's id as text."""
        return encode_id(self.lease.job)

    async def outcome(self) -> Outcome:
        """Return how it ended; nobody has heard of it yet."""
        async with asyncio.timeout(PATIENCE):
            return await self.task

    def report(self, taken: bool = True) -> None:
        """Let the broker of jobs take note of what was said, or not."""
        calls, self.attempt.calls = self.attempt.calls, []
        for call in calls:
            call(taken)

    async def ended(self) -> Outcome:
        """Return how it ended, once the broker of jobs has taken note."""
        outcome = await self.outcome()
        self.report()
        return outcome


def lease(payload: bytes = b'{"url": "x"}', *, kind: str = "thumb", attempt: int = 1, timeout: float | None = None) -> Lease:
    """Return a lease of a new job."""
    job = _ids.next(1.0)
    return Lease(job=job, token=job, attempt=attempt, kind=kind, payload=payload, length=30.0, timeout=timeout)


def again(run: Run, attempt: int | None = None) -> Lease:
    """Return a later lease of the same job."""
    return msgspec.structs.replace(run.lease, attempt=attempt or run.lease.attempt)


def chunk(count: int, attempts: tuple[int, ...] = ()) -> Lease:
    """Return a lease of members of a new array."""
    parameters = tuple({"index": index} for index in range(count))
    members = Members(indexes=tuple(range(count)), parameters=parameters, attempts=attempts)
    return msgspec.structs.replace(lease(b'{"p": 1}'), members=members)
