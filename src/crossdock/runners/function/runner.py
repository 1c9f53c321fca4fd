"""Runs functions: sync ones in child processes that can be killed, async ones in the loop."""

import asyncio
import os
from contextlib import suppress
from typing import Final

import msgspec

from crossdock.core.jobs import Lease, MemberOutcome, Members, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Attempt
from crossdock.runners.function.execution import CANCELLED, over_memory
from crossdock.runners.function.inloop import LoopRunner
from crossdock.runners.function.loading import absolute
from crossdock.runners.function.pool import Pool
from crossdock.runners.function.process import CannotStart
from crossdock.runners.function.registry import App
from crossdock.runners.function.running import Running
from crossdock.runners.function.watch import MemoryWatch

_DONE: Final = Outcome(kind=OutcomeKind.SUCCEEDED)
_MAX_STARTS: Final = 3
"""Children that may turn out dead when they are given a job before that counts as the job's attempt."""


class FunctionRunner:
    """Executes the functions of an app.

    Args:
        app: the functions.
        reference: where children find the same app (``file.py:app`` or ``module:app``).
        processes: how many children there may be; None: one per CPU. An app without sync functions needs none.
        artifacts: where artifacts of functions go; None refuses them.
        memory: limit in bytes for kinds that have none of their own.
        recycle_after: jobs after which a child is replaced; 0: never.
        recycle_memory: bytes a child may hold after a job; above, it is replaced. 0: any.
    """

    def __init__(
        self,
        app: App,
        reference: str,
        *,
        processes: int | None = None,
        artifacts: Artifacts | None = None,
        memory: int | None = None,
        recycle_after: int = 1000,
        recycle_memory: int = 0,
    ) -> None:
        self._app = app
        self._artifacts = artifacts
        self._pool = Pool(absolute(reference), processes or os.cpu_count() or 1, recycle_after, recycle_memory)
        self._memory = memory
        self._loop = LoopRunner(artifacts)
        self._watch = MemoryWatch()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the children; they get ready in the background."""
        if any(not function.asynchronous for function in self._app.functions.values()):
            self._pool.start()
            self._watching = asyncio.create_task(self._watch.run())

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease, whose documents have to be loaded, to its end. Cancelling this kills what runs."""
        function = self._app.functions.get(lease.kind)
        if function is None:
            return Outcome(kind=OutcomeKind.ERRORED, code="unknown_kind", message=f"the app has no function {lease.kind!r}")
        if function.asynchronous:
            return await self._loop.run(function, lease, attempt)
        memory = function.kind.memory or self._memory
        if lease.members is None:
            return (await self._run_once(lease, attempt, memory))[0]
        return await self._run_chunk(lease, lease.members, attempt, memory)

    async def stop(self) -> None:
        """End every process that was started."""
        self._loop.stop()
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._pool.stop()

    def processes(self) -> list[int]:
        """Return the ids of the child processes."""
        return self._pool.children()

    async def _run_once(self, lease: Lease, attempt: Attempt, memory: int | None) -> tuple[Outcome, int]:
        """Run in one child; return the outcome and the number of members that were reported."""
        for _ in range(_MAX_STARTS):
            try:
                child = await self._pool.acquire()
            except CannotStart as error:
                return Outcome(kind=OutcomeKind.ERRORED, code="worker_start", message=str(error)), 0
            running = Running(child, lease, attempt, self._artifacts, memory)
            try:
                if attempt.cancelled:
                    return CANCELLED, 0
                if memory is not None:
                    self._watch.add(child.pid, memory, lambda running=running: running.kill(over_memory(memory)))
                outcome = await running.wait()
            finally:
                self._watch.remove(child.pid)
                self._pool.release(child)
            if running.begun or outcome.code != "worker_died":
                return outcome, running.reported
        return Outcome(kind=OutcomeKind.ERRORED, code="worker_died", message="worker processes end before they get a job"), 0

    async def _run_chunk(self, lease: Lease, members: Members, attempt: Attempt, memory: int | None) -> Outcome:
        """Run members until none is left; one that takes its child with it costs the others nothing but the time."""
        while members.indexes:
            rest = msgspec.structs.replace(lease, members=members)
            outcome, reported = await self._run_once(rest, attempt, memory)
            culprit = reported
            if culprit == len(members.indexes):
                return _DONE
            if outcome.kind in (OutcomeKind.CANCELLED, OutcomeKind.FAILED) or outcome.code == "worker_start":
                return outcome
            await attempt.member(MemberOutcome(index=members.indexes[culprit], outcome=outcome))
            members = Members(indexes=members.indexes[culprit + 1 :], parameters=members.parameters[culprit + 1 :])
        return _DONE
