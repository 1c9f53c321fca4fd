"""The sandbox: a number of slots, each a thread that runs one box after the other, and the best tier there is."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.sandbox.running import Cancelled, Means, run_program
from crossdock.runners.program.sandbox.slots import Slot, claim_slots
from crossdock.runners.program.sandbox.spec import Program, SandboxError, Tier, Verdict
from crossdock.runners.program.sandbox.tiers import TierReport, try_tiers

_DEFAULT_MINIMUM: Final = Tier.NAMESPACES


class Boxes:
    """Runs programs in boxes, at most ``slots`` at a time; more wait for their turn.

    Args:
        state: a directory of this process alone; it is made if needed.
        slots: how many boxes there may be at a time.
        minimum: the worst tier that will do.
        best: the best tier to try, to do without one that works.
    """

    def __init__(self, state: Path, *, slots: int = 1, minimum: Tier = _DEFAULT_MINIMUM, best: Tier = Tier.CGROUP) -> None:
        self._state = state
        self._count = slots
        self._allowed = tuple(tier for tier in Tier if best <= tier <= minimum)
        self._means: Means | None = None
        self._slots: list[Slot] = []
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._cancels: set[int] = set()

    @property
    def tier(self) -> Tier:
        """What the boxes hold; known after :meth:`start`."""
        return self._started().tier

    @property
    def guarantees(self) -> tuple[str, ...]:
        """The same in sentences."""
        return self._started().guarantees

    async def start(self) -> None:
        """Try the tiers by running a real program in a real box, sweep what an earlier process left, take the best tier.

        Raises:
            CrossdockError: ``unavailable`` if none as good as required works, with what to do about it.
        """
        if self._means is not None:
            return
        self._means = await asyncio.to_thread(self._start)
        for slot in self._slots:
            self._free.put_nowait(slot)

    async def run(self, program: Program) -> Verdict:
        """Run a program to its end; cancelling the task kills it with all its descendants.

        Its directory is its own while it runs: with a user per slot it is given to that user.

        Raises:
            SandboxError: it could not be run.
        """
        self._started()
        slot = await self._free.get()
        try:
            return await self._run(program, slot)
        finally:
            self._free.put_nowait(slot)

    async def stop(self) -> None:
        """End every box."""
        self._means = None
        for cancelled in self._cancels:
            os.eventfd_write(cancelled, 1)
        slots, self._slots = self._slots, []
        for slot in slots:
            await asyncio.to_thread(slot.close)

    async def _run(self, program: Program, slot: Slot) -> Verdict:
        means = self._started()
        cancelled = os.eventfd(0, os.EFD_CLOEXEC)
        self._cancels.add(cancelled)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(slot.thread, run_program, program, means, slot, cancelled)
        try:
            return await asyncio.shield(running)
        except Cancelled as error:
            raise SandboxError("the sandbox is stopping") from error
        except asyncio.CancelledError:
            os.eventfd_write(cancelled, 1)
            await _settled(running)
            raise
        finally:
            self._cancels.discard(cancelled)
            os.close(cancelled)

    def _started(self) -> Means:
        if self._means is None:
            raise SandboxError("the sandbox has not been started")
        return self._means

    def _start(self) -> Means:
        self._slots = claim_slots(self._state, self._count)
        try:
            return self._best()
        except BaseException:
            self._give_up()
            raise

    def _best(self) -> Means:
        found = try_tiers(self._slots, self._allowed)
        for _, means in found:
            if means is not None:
                return means
        raise CrossdockError(Code.UNAVAILABLE, _refusal([report for report, _ in found]))

    def _give_up(self) -> None:
        for slot in self._slots:
            slot.close()
        self._slots = []


async def _settled(running: asyncio.Future[Verdict]) -> None:
    """Wait for the end, whoever would rather not."""
    while not running.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    running.exception()


def _refusal(found: list[TierReport]) -> str:
    lines = [f"tier {report.tier}: {report.reason}" + (f" [{report.advice}]" if report.advice else "") for report in found]
    return "no box as good as required can be made here; " + "; ".join(lines)
