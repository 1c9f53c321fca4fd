"""Child processes that wait for work: started ahead, used again, replaced when they are gone or have grown."""

import asyncio
import os
from collections import deque
from typing import Final

from crossdock.runners.function.process import CannotStart, Child, Guard

_START_LIMIT: Final = 60.0
"""Seconds a child has to load the app."""
_STOPPED: Final = "the runner is not running"


class Pool:
    """Up to ``size`` children of one app.

    A child that died is replaced, as is one that has run ``max_jobs`` or holds more than ``max_memory`` bytes after a job
    (0: no such limit). The replacement starts in the background, so that the next job finds it ready.
    """

    def __init__(self, reference: str, size: int, max_jobs: int, max_memory: int) -> None:
        self._reference = reference
        self._size = size
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._guard: Guard | None = None
        self._idle: list[Child] = []
        self._lent: set[Child] = set()
        self._children: set[Child] = set()
        self._waiting: deque[asyncio.Future[Child]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = True

    def start(self) -> None:
        """Start a child per processor, without waiting until they are ready. More come when they are needed."""
        self._closed = False
        self._guard = Guard()
        for _ in range(min(self._size, os.cpu_count() or 1)):
            self._grow()

    async def acquire(self) -> Child:
        """Return an idle child, waiting for one.

        Raises:
            CannotStart: if a child had to be started and could not load the app, or the pool is not running.
        """
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                self._lent.add(child)
                return child
        if self._closed:
            raise CannotStart(_STOPPED)
        waiter: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if len(self._children) < self._size:
            self._grow()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise

    def release(self, child: Child) -> None:
        """Take a child back after a job."""
        self._lent.discard(child)
        if child.dead:
            child.close()
        if not child.usable or self._closed:
            return
        if self._worn(child):
            self._children.discard(child)
            child.retire()
            self._grow()
        else:
            self._offer(child)

    def children(self) -> list[int]:
        """Return the ids of the processes there are."""
        return [child.pid for child in self._children]

    async def stop(self) -> None:
        """Kill every child and wait until it is gone."""
        self._closed = True
        while self._waiting:
            self._refuse(CannotStart(_STOPPED))
        for child in list(self._children):
            child.kill()
        await asyncio.gather(*self._tasks)
        if self._guard is not None:
            self._guard.close()

    def _worn(self, child: Child) -> bool:
        if self._max_jobs and child.jobs >= self._max_jobs:
            return True
        return bool(self._max_memory) and child.memory() > self._max_memory

    def _grow(self) -> None:
        if self._closed or self._guard is None:
            return
        try:
            child = Child(self._reference, self._guard)
        except OSError as error:
            self._refuse(CannotStart(f"no process could be started: {error}"))
            return
        self._children.add(child)
        task = asyncio.create_task(self._look_after(child))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after(self, child: Child) -> None:
        """Bring a child up, and replace it when it has died."""
        try:
            async with asyncio.timeout(_START_LIMIT):
                await child.wait_ready()
        except (CannotStart, TimeoutError) as error:
            child.kill()
            self._refuse(error if isinstance(error, CannotStart) else CannotStart("it took more than 60 s to load the app"))
        else:
            self._offer(child)
        await child.exited()
        lost = child in self._children
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        # Whoever had it may still have to read what it said last.
        if child not in self._lent:
            child.close()
        # One that never got ready is not tried again before somebody asks: the next would fail as well.
        if (lost and child.ready) or (self._waiting and not self._children):
            self._grow()

    def _offer(self, child: Child) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._lent.add(child)
                waiter.set_result(child)
                return
        self._idle.append(child)

    def _refuse(self, error: CannotStart) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)
                return
