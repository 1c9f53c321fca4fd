"""Stopping: the first signal drains, the second hands everything back."""

import asyncio
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

Say = Callable[[str], None]
"""Tells people something, a line at a time."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """What the operator asked for. Both events stay set: a second request implies the first."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.release = asyncio.Event()

    def ask(self) -> None:
        """Ask to stop; asked again, at once."""
        (self.release if self.drain.is_set() else self.drain).set()

    @contextmanager
    def on_signals(self) -> Generator[None, None, None]:
        """Ask whenever SIGTERM or SIGINT arrives."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


class Hands(Protocol):
    """A worker of any sort."""

    async def run(self) -> None:
        """Work until drained or released."""
        ...

    def drain(self) -> None:
        """Begin nothing more; ``run`` returns when what runs has ended."""
        ...

    def release(self) -> None:
        """Hand back what runs; ``run`` returns soon."""
        ...


async def run_until_stopped(workers: Sequence[Hands], stopping: Stopping, say: Say) -> None:
    """Run workers until the operator asks to stop and what they run has ended, or has been handed back."""
    async with asyncio.TaskGroup() as group:
        hurry = group.create_task(_hand_back(workers, stopping, say))
        async with asyncio.TaskGroup() as running:
            for worker in workers:
                running.create_task(worker.run())
            await stopping.drain.wait()
            say("crossdock: finishing what runs, then stopping; once more to hand it back and stop at once")
            for worker in workers:
                worker.drain()
        hurry.cancel()


async def _hand_back(workers: Sequence[Hands], stopping: Stopping, say: Say) -> None:
    await stopping.release.wait()
    say("crossdock: handing back what runs")
    for worker in workers:
        worker.release()
