"""Work for plain workers: claimed when one is free, and made into URLs if it is not already."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Dispatch
from crossdock.protocols.recodex.backend_effects import Running
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.translation import work

_WAIT: Final = 60.0
"""Seconds that a claim waits for work before it is made anew."""
_PAUSE: Final = 1.0
_UNPUBLISHED: Final = "the submission of this evaluation has no URL that a worker could fetch it from"

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Claiming:
    """Claims one job at a time for each plain worker that is free.

    Args:
        dispatch: has the jobs.
        artifacts: where large payloads are.
        hooks: publishes submissions that have no URLs.
        given: is told which worker got what, and the URL of the archive.
    """

    def __init__(
        self, dispatch: Dispatch, artifacts: Artifacts, hooks: Hooks, given: Callable[[str, Running, str], None]
    ) -> None:
        self.published: dict[int, Lease] = {}
        """Leases by token whose files were published."""
        self._dispatch = dispatch
        self._artifacts = artifacts
        self._hooks = hooks
        self._given = given
        self._waiting: dict[str, asyncio.Task[None]] = {}

    async def claim(self, worker: str) -> None:
        """Give a free worker its next job, at once or when there is one."""
        self.cancel(worker)
        try:
            leases = await self._dispatch.claim(worker, 1)
        except CrossdockError:
            leases = []
        if leases and self._hand(worker, leases[0]):
            return
        self._waiting[worker] = asyncio.create_task(self._wait(worker, leases))

    def cancel(self, worker: str) -> None:
        """Claim no more for a worker."""
        task = self._waiting.pop(worker, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def stop(self) -> None:
        """Claim no more."""
        for worker in list(self._waiting):
            self.cancel(worker)

    async def _wait(self, worker: str, leases: list[Lease]) -> None:
        """Claim until there is a job that the worker can do."""
        while True:
            try:
                if leases and await self._prepare(worker, leases[0]):
                    break
                leases = await self._dispatch.claim(worker, 1, _WAIT)
            except CrossdockError as error:
                leases = []
                if error.code is Code.NOT_FOUND:
                    break
                await asyncio.sleep(_PAUSE)
            except Exception:  # noqa: BLE001 - a worker must not be left without work for ever
                leases = []
                _log.exception("no work can be claimed for a worker", worker=worker)
                await asyncio.sleep(_PAUSE)
        if self._waiting.get(worker) is asyncio.current_task():
            del self._waiting[worker]

    def _hand(self, worker: str, lease: Lease) -> bool:
        """Give a worker a job that is only URLs; False if there is more to do first."""
        if not isinstance(lease.payload, bytes):
            return False
        try:
            wanted = work(lease.job, lease.payload)
        except CrossdockError:
            return False
        if wanted.archive is None or wanted.result is None:
            return False
        self._given(worker, Running(wanted.job, lease.token, lease.attempt, wanted.result), wanted.archive)
        return True

    async def _prepare(self, worker: str, lease: Lease) -> bool:
        """Give a worker any job; False if no plain worker can do it, which is reported then."""
        try:
            wanted = work(lease.job, await load(self._artifacts, lease.payload))
        except CrossdockError as error:
            kind = OutcomeKind.FAILED if error.code is Code.INVALID else OutcomeKind.ERRORED
            await self._refuse(lease, Outcome(kind=kind, code=error.code, message=error.message))
            return False
        archive, result = wanted.archive, wanted.result
        if archive is None or result is None:
            try:
                urls = await self._hooks.publish(lease)
            except CrossdockError as error:
                await self._refuse(lease, Outcome(kind=OutcomeKind.ERRORED, code=error.code, message=error.message))
                return False
            if urls is None:
                await self._refuse(lease, Outcome(kind=OutcomeKind.ERRORED, code="unpublished", message=_UNPUBLISHED))
                return False
            archive, result = urls
            self.published[lease.token] = lease
        self._given(worker, Running(wanted.job, lease.token, lease.attempt, result), archive)
        return True

    async def _refuse(self, lease: Lease, outcome: Outcome) -> None:
        await self._dispatch.report(lease.token, outcome)
