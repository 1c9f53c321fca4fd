"""Keeps an eye on the memory of running children, which no limit of the kernel's counts over a whole tree."""

import asyncio
from collections.abc import Callable
from typing import Final

from crossdock.runners.function.tree import resident

_TICK: Final = 0.1


class MemoryWatch:
    """Measures the processes it is told of ten times a second and calls back for one that is over its limit."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}
        self._wanted = asyncio.Event()

    def add(self, pid: int, limit: int, exceeded: Callable[[], None]) -> None:
        """Watch a process and its descendants; ``exceeded`` is called at most once."""
        self._watched[pid] = (limit, exceeded)
        self._wanted.set()

    def remove(self, pid: int) -> None:
        """Stop watching a process."""
        if self._watched.pop(pid, None) and not self._watched:
            self._wanted.clear()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._wanted.wait()
            for pid, (limit, exceeded) in list(self._watched.items()):
                if resident(pid) > limit:
                    self.remove(pid)
                    exceeded()
            await asyncio.sleep(_TICK)
