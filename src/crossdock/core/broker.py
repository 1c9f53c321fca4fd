"""The broker: the only writer of jobs. It joins the pure scheduler to the ports, the clock and the disk.

Clients and workers do not call the broker but its doors: :attr:`Broker.intake`, :attr:`Broker.dispatch`,
:attr:`Broker.records` and :attr:`Broker.outbox`. Everything they change goes through one :class:`GroupCommit`, which commits
whatever has gathered since the last commit as one transaction and only then lets its effects be seen.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Final

from crossdock.core.changes import Group
from crossdock.core.chunks import Chunks
from crossdock.core.desk import Desk
from crossdock.core.dispatch import BrokerDispatch, worker_topic
from crossdock.core.errands import end_overdue, run_errand
from crossdock.core.errors import CrossdockError, StoreFull
from crossdock.core.figures import Stats, count
from crossdock.core.identifiers import IdSource
from crossdock.core.intake import BrokerIntake, job_topic
from crossdock.core.journal import GroupCommit
from crossdock.core.kinds import Kind
from crossdock.core.leases import Leases
from crossdock.core.needs import refuse_circles, refuse_missing
from crossdock.core.outbox import BrokerOutbox, BrokerRecords
from crossdock.core.oversight import BrokerOversight
from crossdock.core.ports import Artifacts, Clock, Signals, Store
from crossdock.core.recovery import recover
from crossdock.core.retention import Retention
from crossdock.core.scheduler import Scheduler
from crossdock.core.stranded import Stranded

_TICK: Final = 0.25
_STALL: Final = 0.25
"""Seconds by which a tick may be late before that counts as a standstill of this process, not of its workers."""
_SILENCE: Final = 120.0
"""Seconds after which a worker that holds nothing and says nothing is forgotten."""


class Broker:
    """Owns the jobs of one store.

    Args:
        store: where jobs are kept; only this broker writes to it.
        artifacts: where large payloads and results are kept.
        signals: wake-ups for those who wait.
        clock: the time.
        kinds: what jobs there are.
        weights: the shares of tenants; 1 for those not named.
        sweep_every: seconds between two sweeps of finished jobs whose time to be kept is over.

    Raises:
        CrossdockError: ``invalid`` if kinds need each other in a circle, or one that is not there.
    """

    def __init__(
        self,
        *,
        store: Store,
        artifacts: Artifacts,
        signals: Signals,
        clock: Clock,
        kinds: Mapping[str, Kind],
        weights: Mapping[str, float] | None = None,
        sweep_every: float = 60.0,
    ) -> None:
        refuse_circles(kinds)
        refuse_missing(kinds)
        self.kinds = kinds
        self.artifacts = artifacts
        self.clock = clock
        self._scheduler = Scheduler(kinds, weights or {}, lambda worker: signals.notify(worker_topic(worker)))
        self._journal = GroupCommit(store, self._scheduler, self._settled)
        leases = Leases(self._scheduler, random.random)
        chunks = Chunks(self._scheduler, leases, random.random)
        self._desk = Desk(self._scheduler, leases, chunks, IdSource(), self._journal, store, artifacts, signals, clock)
        self.intake = BrokerIntake(self._desk, kinds)
        self.dispatch = BrokerDispatch(self._desk)
        self.oversight = BrokerOversight(self._desk)
        self.records = BrokerRecords(self._desk)
        self.outbox = BrokerOutbox(self._desk)
        self._retention = Retention(self._desk, self._journal, self._desk.now())
        self._stranded = Stranded(self._scheduler)
        self._sweep_every = sweep_every
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the store, take up what is unfinished, and begin to work."""
        self._retention = Retention(self._desk, self._journal, self._desk.now())
        boot = await self._desk.store.open()
        self._desk.ids = IdSource(boot.last_job)
        self._desk.leases.begin(boot.epoch)
        self._scheduler.last_notification = boot.last_notification
        await recover(self._desk, self.outbox)
        self._journal.running = True
        self._tasks = [asyncio.create_task(work) for work in (self._journal.run(), self._keep_time(), self._sweep())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Write what is pending and close the store. Leases stay as they are, for their workers to come back to."""
        if self._journal.running:
            with contextlib.suppress(CrossdockError):  # what cannot be written is recovered as after a kill
                await self._journal.durable()
        self._journal.running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._journal.stop("the broker is closed")
        await self._desk.store.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A broker that lost one of its tasks would look alive and do half of its work."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._journal.fail(error)

    async def failed(self) -> CrossdockError:
        """Wait for a failure after which the process has to end and start again; return it."""
        return await asyncio.shield(self._journal.failure)

    def stats(self) -> Stats:
        """Return what is going on; its cost does not grow with the number of jobs."""
        return count(self._desk, full=self._journal.full)

    def _settled(self, group: Group) -> None:
        self._scheduler.settled(group, self._desk.now())
        self.outbox.owe(group.notifications.values())
        for job in group.transitions:
            self._desk.signals.notify(job_topic(job))
        if self._scheduler.agenda.next() < self.clock.monotonic() + _TICK:
            self._work.set()

    async def _keep_time(self) -> None:
        """Do what time brings about. Time in which this process stood still is nobody's: renewals wait at the door."""
        loop = asyncio.get_running_loop()
        ticked = loop.time()
        while True:
            pause = self._scheduler.agenda.next() - self.clock.monotonic()
            with contextlib.suppress(TimeoutError):  # not wait_for: in Python 3.11 it may swallow a cancellation
                async with asyncio.timeout(min(_TICK, max(pause, 0.0))):
                    await self._work.wait()
            self._work.clear()
            late = loop.time() - ticked - _TICK
            if late > _STALL:
                self._desk.leases.book.forgive(late)
            ticked = loop.time()
            await self.tick()

    async def tick(self) -> None:
        """Do what is due by now: end leases, begin delayed jobs, enforce timeouts."""
        now = self._desk.now()
        end_overdue(self._desk, now)
        self._stranded.look(now)
        for errand in self._scheduler.agenda.due(now):
            await run_errand(self._desk, errand)
        for worker in self._scheduler.fleet.silent(now.wall - _SILENCE):
            self._scheduler.fleet.detach(worker)
        self._scheduler.fleet.forget_classes(self._scheduler.ready.classes())
        self._journal.kick()

    async def sweep(self) -> int:
        """Delete finished jobs whose time is over, with all that belongs to them; return how many there were."""
        return await self._retention.sweep()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            with contextlib.suppress(StoreFull):
                await self.sweep()
