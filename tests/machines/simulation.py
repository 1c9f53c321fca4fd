"""Deterministic simulation of the real core: one seed is one history of clients, workers, a disk, a network and crashes.

Time is virtual, the store is the memory store behind a :class:`Disk`, everything else is the code that runs in production.
After some seconds all faults end; then everything has to end well. What was promised is judged by ``judge.py``.
"""

import asyncio
import random as chance
from collections.abc import Awaitable
from itertools import chain
from random import Random
from typing import Any

from crossdock.core.broker import Broker
from crossdock.core.changes import Group
from crossdock.core.errors import CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.log import told
from crossdock.core.policy import Policy
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from machines.faulty import Disk, Lost, Mix, Network
from machines.peers import Client, Deliverer, Plan, Worker
from machines.virtual_time import SkewedClock, VirtualLoop, run_virtually

POLICY = Policy(attempts=3, backoff=0.1, backoff_max=1.0, lease=2.0, grace=0.5, keep=1e9)
TROUBLE = 15.0
"""Seconds for which things go wrong."""
PATIENCE = 400.0
"""Seconds after which everything has to have ended once nothing goes wrong any more."""


class World:
    """Everything that one history is made of."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        chance.seed(seed)
        self.loop = VirtualLoop()
        self.mix = Mix.drawn(self.random)
        self.store = MemoryStore()
        self.clock = SkewedClock(self.loop)
        self.network = Network(self.mix, self.random, self.serve)
        self.disk: Disk | None = None
        self.broker: Broker | None = None
        self.calm = False
        self.restarts = 0
        self.wrong: list[str] = []
        """What was seen during the history that must never be seen."""
        self.heard: dict[int, float] = {}
        """When the broker last heard of a lease, by token."""
        self._process: dict[asyncio.Task[Any], None] = {}
        self._up = asyncio.Event()
        plans = [Plan.drawn(self.random, number) for number in range(self.random.choice((3, 8, 15)))]
        self.client = Client(self, plans)
        self.deliverer = Deliverer(self)
        self.workers = [Worker(self, number) for number in range(self.random.choice((1, 2, 3)))]

    # The process of the broker

    def serve(self, work: Awaitable[Any]) -> None:
        """Run something in the process of the broker: it ends with it."""
        task = self.loop.create_task(work)  # type: ignore[arg-type]
        self._process[task] = None
        task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Any]) -> None:
        self._process.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CrossdockError):
            self.wrong.append(f"a call ended with {error!r}")

    async def run_broker(self) -> None:
        """Keep a broker up: start one after each crash."""
        while True:
            self.disk = Disk(self.store, self.mix, self.random, self.watch)
            self.disk.calm = self.calm
            broker = self.broker = Broker(
                store=self.disk,
                artifacts=None,  # type: ignore[arg-type]
                signals=LocalSignals(),
                clock=self.clock,
                kinds={"work": Kind(name="work", policy=POLICY)},
            )
            self._up.clear()
            self.serve(self._live(broker))
            await self._up.wait()
            if not self.calm:
                await asyncio.sleep(self.random.uniform(0.01, 1.5))
            self.restarts += 1

    async def _live(self, broker: Broker) -> None:
        await broker.open()
        self.network.broker = broker
        self.serve(self.deliverer.run(broker))
        await broker.failed()
        self.loop.call_soon(self.crash)

    def crash(self) -> None:
        """Kill the process of the broker at whatever it is doing."""
        if self.broker is None or self.disk is None:
            return
        self.network.broker = None
        self.disk.dead = True
        for task in [*self._process, *self.broker._tasks]:
            task.cancel()
        self.broker = None
        self.store._open = False
        self._up.set()

    # Trouble

    async def trouble(self) -> None:
        """Let things go wrong for a while."""
        random, mix = self.random, self.mix
        # What is put off by a clock that is a day ahead, and read by the next process when it is right again, waits a day.
        direction = random.choice((-1, 1))
        while self.loop.now < TROUBLE:
            await asyncio.sleep(random.expovariate(4.0))
            if random.random() < mix.crashes * 0.3:
                self.crash()
            if random.random() < mix.worker_crashes * 0.3:
                random.choice(self.workers).crash()
            if random.random() < mix.partitions * 0.5:
                self._cut(random.choice(("c>", "<c", *(way for worker in self.workers for way in worker.ways))))
            if random.random() < mix.jumps * 0.3:
                self.clock.skew += direction * random.choice((5.0, 3600.0, 86400.0))
        self.calm = self.network.calm = True
        self.network.cut.clear()
        if self.disk is not None:
            self.disk.calm = True

    def _cut(self, way: str) -> None:
        self.network.cut.add(way)
        self.loop.call_later(self.random.uniform(0.5, 5.0), self.network.cut.discard, way)

    def watch(self, group: Group) -> None:
        """Look at what is about to be on disk: a lease must not end for want of a sign that was there."""
        for entry in chain(group.entries, *(told(transition.job) for transition in group.transitions.values())):
            lost = (entry.event == "retrying" and b'"outcome":"lost"' in entry.data) or (
                entry.event == "failed" and b'"code":"lost"' in entry.data
            )
            token = self.store._tables.jobs[entry.job].token if entry.job in self.store._tables.jobs else 0
            if lost and self.loop.now - self.heard.get(token, -POLICY.lease) < POLICY.lease - 0.01:
                self.wrong.append(f"job {entry.job}: lease {token} was called lost while its worker was heard of")

    # One history

    async def history(self) -> None:
        """Play it to the end, kill the broker once more, and start it again to see what is left."""
        tasks = [self.loop.create_task(self.run_broker()), self.loop.create_task(self.trouble())]
        tasks += [self.loop.create_task(worker.run()) for worker in self.workers]
        flows = [self.loop.create_task(flow) for flow in self.client.flows()]
        try:
            async with asyncio.timeout(TROUBLE + PATIENCE):
                await asyncio.gather(*flows, tasks[1])
                await self._ends()
        except TimeoutError:
            self.wrong.append("not everything has ended")
        self.crash()
        for _ in range(5):
            await asyncio.sleep(0.5)
        for task in (*tasks, *flows):
            task.cancel()
        errors = await asyncio.gather(*tasks, *flows, return_exceptions=True)
        self.wrong += [repr(error) for error in errors if isinstance(error, Exception) and not isinstance(error, Lost)]
        self.crash()

    async def _ends(self) -> None:
        """Wait until every job has ended and every notification is delivered, on disk."""
        tables = self.store._tables
        while tables.notifications or not all(job.terminal for job in tables.jobs.values()):  # noqa: ASYNC110 - virtual
            await asyncio.sleep(0.5)


def play(seed: int) -> World:
    """Play the history of a seed."""
    world = World(seed)
    try:
        run_virtually(world.history(), world.loop)
    except Exception as error:  # a history that cannot be played is a finding like others
        world.wrong.append(f"the history ended with {error!r}")
    return world
