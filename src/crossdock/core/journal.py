"""Group commit: the one way onto the disk.

Besides the broker this is the only module of the core that knows the event loop: waiting for a commit is its task.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from crossdock.core.changes import Admission, Group, Transition
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.ports import Store
from crossdock.core.requests import Record
from crossdock.core.scheduler import Scheduler

_SOON: Final = 0.01
"""Seconds that changes may wait for others when nobody waits for them: a lease often meets the end of its attempt."""
_PROBE: Final = 0.25
"""Seconds between two tries to write while the disk is full."""


class GroupCommit:
    """Implements :class:`~crossdock.core.desk.Journal`: everything that gathered since the last commit is one transaction.

    When the disk is full nothing new is admitted, what happens to existing jobs is kept in memory and tried again, and
    everybody who waits is told. When a write fails in any other way, nothing is acknowledged any more.
    """

    def __init__(self, store: Store, scheduler: Scheduler, settled: Callable[[Group], None]) -> None:
        self.running = False
        self.full = False
        self.writing = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.failure: asyncio.Future[CrossdockError] = self._loop.create_future()
        self._store = store
        self._scheduler = scheduler
        self._settled = settled
        self._in_flight = Group()
        self._waiters: list[asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Raise ``unavailable`` while the disk is full or the broker is not running."""
        if self.full:
            raise StoreFull("the disk is full: nothing new is accepted until there is space again")
        if not self.running:
            raise CrossdockError(Code.UNAVAILABLE, "the broker is not running; try again later")

    def kick(self) -> None:
        """Commit soon; nobody waits for it, so it may be together with something that somebody waits for."""
        if self._soon is None and not self._scheduler.group.empty():
            self._soon = self._loop.call_later(_SOON, self._work.set)

    def hasten(self) -> None:
        """Commit at once, although nobody waits for it."""
        if not self.running:
            self.check()
        self._work.set()

    def durable(self) -> Awaitable[None]:
        """Return when everything that is in the group now is on disk."""
        if not self.running:
            self.check()
        if self._scheduler.group.empty() and self._in_flight.empty():
            return _nothing()
        return self._wait()

    def admit(self, admission: Admission, unmet: Mapping[int, tuple[int, ...]]) -> Awaitable[None]:
        """Write new jobs; return when they are on disk."""
        self.check()
        self._scheduler.admit(admission, unmet)
        return self._wait()

    def unsettled(self, job: int) -> bool:
        """Tell whether there are changes of a job that are not on disk yet."""
        return job in self._scheduler.group.transitions or job in self._in_flight.transitions

    def records(self) -> Sequence[Mapping[tuple[str, str], Record | None]]:
        """Return the changes of records that are not on disk yet, the newest first."""
        return self._scheduler.group.records, self._in_flight.records

    def _wait(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        if not self._waiters:
            self._work.set()
        self._waiters.append(waiter)
        return waiter

    async def run(self) -> None:
        """Commit groups until the broker is closed."""
        while True:
            await self._work.wait()
            self._work.clear()
            if self._soon is not None:
                self._soon.cancel()
                self._soon = None
            waiters, self._waiters = self._waiters, []
            if self._scheduler.group.empty():
                _resolve(waiters)
                continue
            group = self._in_flight = self._scheduler.swap()
            try:
                async with self.writing:
                    await self._store.commit(group)
                self._in_flight = Group()
                self.full = False
                self._settled(group)
            except StoreFull as error:
                self._refuse(group, waiters, error)
                await asyncio.sleep(_PROBE)
            except asyncio.CancelledError:
                self._waiters += waiters
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be acknowledged after it
                self._waiters += waiters
                self.fail(error)
                return
            else:
                _resolve(waiters)

    def _refuse(self, group: Group, waiters: list[asyncio.Future[None]], error: StoreFull) -> None:
        """Forget what was new, keep what happened to jobs for the next try, which also finds out whether there is space."""
        self.full = True
        for admission in group.admissions:
            self._scheduler.refuse(admission)
        self._in_flight = Group()
        self._scheduler.group = _merged(group, self._scheduler.group)
        self._scheduler.group.records["crossdock", "probe"] = Record("crossdock", "probe", b"full")
        _reject(waiters, error)
        self._work.set()

    def fail(self, error: BaseException) -> None:
        """Acknowledge nothing from now on: the process has to end, and the next one takes up what is on disk."""
        if not isinstance(error, CrossdockError):
            error = CrossdockError(Code.INTERNAL, f"the broker failed: {error!r}")
        if not self.failure.done():
            self.failure.set_result(error)
        self.stop("the broker failed; the server has to be restarted")

    def stop(self, reason: str) -> None:
        """End the service of everybody who waits."""
        self.running = False
        waiters, self._waiters = self._waiters, []
        _reject(waiters, CrossdockError(Code.UNAVAILABLE, reason))


def _resolve(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


async def _nothing() -> None:
    """Be what is awaited when there is nothing to wait for."""


def _reject(waiters: list[asyncio.Future[None]], error: CrossdockError) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def _merged(old: Group, new: Group) -> Group:
    """Return what is left to write of a group that could not be, and of what happened since."""
    for job, transition in old.transitions.items():
        later = new.transitions.get(job)
        new.transitions[job] = transition if later is None else Transition(later.job, transition.sources)
    for batch, tally in old.tallies.items():
        new.add_tally(batch, tally)
    new.entries[:0] = old.entries
    new.blocks[:0] = old.blocks
    new.notifications = {**old.notifications, **new.notifications}
    new.segments = {**old.segments, **new.segments}
    new.delivered |= old.delivered
    return new
