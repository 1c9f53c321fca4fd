"""A store and the brokers that come and go on it, driven by hand: nothing here sleeps."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from clocks import HandClock
from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Job, Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.ports import Store
from crossdock.core.requests import Capabilities, Entry, Submit, Verdict, WorkerInfo
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore

STEADY = Policy(backoff=1.0, factor=2.0, jitter=0.0)
"""A policy without chance."""

DONE = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")
ERROR = Outcome(kind=OutcomeKind.ERRORED, code="boom", message="it broke")
WRONG = Outcome(kind=OutcomeKind.FAILED, code="wrong", message="it cannot work")


class Reopenable(Protocol):
    """What makes the store of the next broker: a crash leaves the old one behind."""

    def __call__(self) -> Store:
        """Return a store with the data of the one before."""
        ...


class Shelves:
    """Artifacts in a dictionary."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.deleted: list[str] = []

    async def put(self, content, media_type="application/json"):
        text = content if isinstance(content, bytes) else b"".join([part async for part in content])
        digest = f"{len(self.contents):064x}"
        self.contents[digest] = text
        return ArtifactRef(digest, len(text), media_type)

    async def read(self, ref, start=0, end=None):
        if ref.digest not in self.contents:
            raise CrossdockError(Code.NOT_FOUND, "there is no such artifact")
        yield self.contents[ref.digest][start:end]

    async def delete(self, digests):
        self.deleted += digests


class Valve:
    """A store whose commits can be held back, or fail.

    ``error`` is what every commit raises; ``plan`` says it of the next commits, one by one, and goes first.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.error: Exception | None = None
        self.plan: list[Exception | None] = []
        self.commits = 0
        self._open = asyncio.Event()
        self._open.set()

    def __getattr__(self, name: str):
        return getattr(self.store, name)

    def shut(self) -> None:
        """Let no commit through from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let commits through again."""
        self._open.set()

    async def commit(self, group) -> None:
        """Commit, wait, or fail."""
        await self._open.wait()
        error = self.plan.pop(0) if self.plan else self.error
        if error is not None:
            raise error
        await self.store.commit(group)
        self.commits += 1


async def turns(count: int = 20) -> None:
    """Let other tasks run until they wait for something that does not come by itself."""
    for _ in range(count):
        await asyncio.sleep(0)


class House:
    """One store, one clock, and the broker that is up now.

    Args:
        kinds: the kinds of jobs; by default one kind ``work`` that is treated without chance.
        reopen: makes the store of each broker; by default one memory store is opened again and again.
        weights: the shares of tenants.
        ticking: whether the broker keeps its time itself, too. By default time passes only when a test says so, however
            long the machine takes over it.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind] | None = None,
        reopen: Reopenable | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        ticking: bool = False,
    ) -> None:
        memory = MemoryStore()
        self.clock = HandClock()
        self.artifacts = Shelves()
        self.kinds = dict(kinds) if kinds is not None else {"work": Kind(name="work", policy=STEADY)}
        self.store: Store = memory
        self._reopen = reopen or (lambda: memory)
        self._weights = weights
        self._ticking = ticking
        self.broker: Broker

    async def open(self) -> Broker:
        """Start a broker on the store as it is."""
        self.store = self._reopen()
        self.broker = Broker(
            store=self.store,
            artifacts=self.artifacts,
            signals=LocalSignals(),
            clock=self.clock,
            kinds=self.kinds,
            weights=self._weights,
        )
        await self.broker.open()
        if not self._ticking:
            _, clockwork, _ = self.broker._tasks
            clockwork.cancel()
        await self.calm()
        return self.broker

    async def crash(self) -> None:
        """End the broker as a kill does: nothing that is not on disk gets there any more."""
        tasks = self.broker._tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.close()

    async def restart(self) -> Broker:
        """Kill the broker and start the next one."""
        await self.crash()
        return await self.open()

    async def calm(self) -> None:
        """Do everything that is due, until nothing is left to do or to write."""
        scheduler = self.broker._scheduler
        while True:
            await self.broker.tick()
            await self.broker._journal.durable()
            if scheduler.group.empty() and scheduler.agenda.next() > self.clock.monotonic():
                return

    async def advance(self, seconds: float) -> None:
        """Let time pass and do what it brings about."""
        self.clock.advance(seconds)
        await self.calm()

    # Short words for what nearly every test does

    async def submit(self, kind: str = "work", **options: object) -> Job:
        """Submit a job."""
        return (await self.broker.intake.submit(Submit(kind=kind, **options))).job  # type: ignore[arg-type]

    async def attach(self, worker: str = "w", *, tokens=(), slots: int = 1, group=None, **values: tuple[str, ...]):
        """Attach a worker that offers every kind."""
        offered = Capabilities(group=group, values={"kind": tuple(self.kinds), **values})
        return await self.broker.dispatch.attach(WorkerInfo(id=worker, slots=slots, capabilities=offered), tokens)

    async def claim(self, worker: str = "w", limit: int = 1) -> list[Lease]:
        """Claim without waiting."""
        return await self.broker.dispatch.claim(worker, limit)

    async def lease(self, worker: str = "w") -> Lease:
        """Claim the one lease that has to be there."""
        [lease] = await self.claim(worker)
        return lease

    async def report(self, lease: Lease, outcome: Outcome = DONE) -> Verdict:
        """End an attempt."""
        return await self.broker.dispatch.report(lease.token, outcome)

    async def job(self, job: Job | int) -> Job:
        """Return a job as clients see it."""
        return await self.broker.intake.job(job if isinstance(job, int) else job.id)

    async def log(self, job: Job | int) -> list[Entry]:
        """Return the log of a job."""
        return await self.broker.intake.entries(job if isinstance(job, int) else job.id, 0)

    async def events(self, job: Job | int) -> list[str]:
        """Return the names of the entries in a job's log."""
        return [entry.event for entry in await self.log(job)]
