"""The worker's loops: claim while there are slots, keep leases alive, send what gathers; drain and release."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.ports import Artifacts, Dispatch, Runner
from crossdock.core.requests import Renewal, WorkerInfo
from crossdock.worker.attempts import Attempts
from crossdock.worker.holding import Holding
from crossdock.worker.sending import Backoff, Delivery

_RENEWALS: Final = 3
"""Renewals per lease length: two may get lost."""
_LOCAL_BEAT: Final = 0.2
_REMOTE_BEAT: Final = 1.0
"""Seconds after which a worker knows that a job was cancelled, in the broker's process and elsewhere."""
_LOCAL_WAIT: Final = 1.0
_REMOTE_WAIT: Final = 10.0
_SEND_PAUSE: Final = 0.05
_REPORTS: Final = 64
"""Reports that may be on their way beside what runs: a slot is free when the work is done, not when the broker has heard."""
_LAST_CLAIM: Final = 0.2
"""Seconds that a claim has, once the worker is drained, to come back with what it was just given."""
_RELEASED: Final = Outcome(kind=OutcomeKind.RELEASED, code="released", message="the worker was told to stop at once")

_log: Final = structlog.get_logger("crossdock.worker")


class Worker:
    """Runs leases of one broker.

    Args:
        dispatch: the broker, here or far away.
        artifacts: where large payloads are.
        runners: what executes kinds, by the name that kinds give; started and stopped by the worker.
        kinds: the kinds it runs.
        info: how it introduces itself.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        artifacts: Artifacts,
        runners: Mapping[str, Runner],
        kinds: Mapping[str, Kind],
        info: WorkerInfo,
    ) -> None:
        self._dispatch = dispatch
        self._runners = runners
        self._attempts = Attempts(artifacts, runners, kinds)
        self._info = info
        self._delivery = Delivery()
        self._held: dict[int, Holding] = {}
        self._running: set[int] = set()
        self._gathered: dict[Holding, None] = {}
        self._draining = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Work until drained or released; on return nothing runs and nothing is held any more."""
        try:
            for runner in self._runners.values():
                await runner.start()
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(loop) for loop in (self._claim_leases(group), self._keep_alive(), self._send())
                ]
                await self._draining.wait()
                await asyncio.wait(background[:1], timeout=_LAST_CLAIM)
                await self._until_idle()
                for task in background:
                    task.cancel()
        finally:
            for runner in self._runners.values():
                await runner.stop()
            with suppress(CrossdockError):
                await self._dispatch.detach(self._info.id)

    def drain(self) -> None:
        """Claim nothing more; :meth:`run` returns when what runs has ended."""
        self._draining.set()
        self._changed.set()

    def release(self) -> None:
        """Kill what runs and hand its leases back at once."""
        self._delivery.hurry()
        for holding in list(self._held.values()):
            holding.kill(_RELEASED)
        self.drain()

    async def _until_idle(self) -> None:
        while self._held:
            self._changed.clear()
            await self._changed.wait()

    async def _claim_leases(self, group: asyncio.TaskGroup) -> None:
        wait = _LOCAL_WAIT if self._info.local else _REMOTE_WAIT
        backoff = Backoff()
        attached = False
        while not self._draining.is_set():
            free = self._free()
            if attached and free <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                if not attached:
                    await self._attach()
                    attached = True
                leases = await self._dispatch.claim(self._info.id, free, wait) if free > 0 else []
            except CrossdockError as error:
                # A broker that was started anew has never heard of us.
                attached = attached and error.code is not Code.NOT_FOUND
                _log.warning("no work can be claimed", reason=str(error))
                await backoff.pause()
                continue
            backoff.reset()
            for lease in leases:
                self._begin(lease, group)

    def _free(self) -> int:
        slots = self._info.slots
        return min(slots - len(self._running), slots + _REPORTS - len(self._held))

    async def _attach(self) -> None:
        tokens = list(self._held)
        self._heed(await self._dispatch.attach(self._info, tokens), tokens)

    def _begin(self, lease: Lease, group: asyncio.TaskGroup) -> None:
        holding = Holding(lease, self._dispatch, self._delivery, self._note_gathered)
        self._held[lease.token] = holding
        self._running.add(lease.token)
        holding.task = group.create_task(self._attend(holding))
        # Not at the end of the task's own code: a task that is killed before its first step never gets there.
        holding.task.add_done_callback(lambda _: self._let_go(lease.token))

    def _let_go(self, token: int) -> None:
        self._running.discard(token)
        self._held.pop(token).over()
        self._changed.set()

    async def _attend(self, holding: Holding) -> None:
        """See one lease through."""
        # What was on its way when the worker was told to take nothing more goes back.
        outcome = _RELEASED if self._draining.is_set() else await self._attempts.outcome(holding)
        self._running.discard(holding.lease.token)
        self._changed.set()
        try:
            if outcome is not None:
                await holding.finish(outcome)
        except CrossdockError as error:
            _log.error("a report was refused", job=holding.lease.job, reason=str(error))

    async def _keep_alive(self) -> None:
        """Renew all leases, whatever user code does and however long a report takes, and learn which jobs should stop."""
        beat = _LOCAL_BEAT if self._info.local else _REMOTE_BEAT
        while True:
            lengths = [holding.lease.length for holding in self._held.values()]
            await asyncio.sleep(min(beat, min(lengths, default=beat * _RENEWALS) / _RENEWALS))
            tokens = list(self._held)
            if not tokens:
                continue
            try:
                self._heed(await self._dispatch.renew(self._info.id, tokens), tokens)
            except CrossdockError as error:
                if error.code is Code.NOT_FOUND:
                    with suppress(CrossdockError):
                        await self._attach()
                else:
                    _log.warning("leases could not be renewed", reason=str(error))

    def _heed(self, renewal: Renewal, tokens: list[int]) -> None:
        alive = set(renewal.alive)
        for token in tokens:
            holding = self._held.get(token)
            if holding is None:
                continue
            if token not in alive:
                holding.kill(None)
            elif token in renewal.cancelled:
                holding.ask_to_stop()

    def _note_gathered(self, holding: Holding) -> None:
        self._gathered[holding] = None
        self._delivery.wanted()

    async def _send(self) -> None:
        while True:
            await self._delivery.wait()
            gathered, self._gathered = self._gathered, {}
            for holding in gathered:
                if holding.lease.token in self._held:
                    await holding.send()
            await asyncio.sleep(_SEND_PAUSE)
