"""Carrying out what the workers' session wants of the broker, in the order in which it wants it."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import structlog

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.dispatch import BrokerDispatch
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.requests import Note, WorkerInfo
from crossdock.protocols.recodex import backend_effects as want
from crossdock.protocols.recodex import extension as wire
from crossdock.protocols.recodex.backend_session import BackendSession
from crossdock.protocols.recodex.claiming import Claiming
from crossdock.protocols.recodex.extended import ExtendedWorkers
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.inheritance import Inheritance, find
from crossdock.protocols.recodex.messages import INTERNAL_ERROR, OK, Extended, ToWorker
from crossdock.protocols.recodex.sockets import Lost
from crossdock.protocols.recodex.statistics import RETRIED
from crossdock.protocols.recodex.translation import delivered, outcome, step

_RELEASED: Final = Outcome(kind=OutcomeKind.RELEASED, code="released", message="the worker could not be reached")

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Errands:
    """Does one thing after the other; what waits for the disk is begun in turn and then left to itself.

    Args:
        broker: has the jobs.
        hooks: who moves files for workers that only know URLs.
        counters: what goes wrong.
        failures: how often a job is tried in all.
        session: is told the facts.
        carry_out: does what the session wants then.
        send: sends a message to a peer.
    """

    def __init__(
        self,
        broker: Broker,
        hooks: Hooks,
        counters: Counters,
        failures: int,
        session: BackendSession,
        carry_out: Callable[[Iterable[want.Effect]], None],
        send: Callable[[bytes, ToWorker, Lost | None], None],
    ) -> None:
        def given(worker: str, running: want.Running, archive: str) -> None:
            carry_out(session.given(worker, running, archive))

        self._broker = broker
        self._hooks = hooks
        self._counters = counters
        self._failures = failures
        self._session = session
        self._carry_out = carry_out
        self._send = send
        self._extended = ExtendedWorkers(broker.dispatch, broker.artifacts, session.left)
        self._claiming = Claiming(broker.dispatch, broker.artifacts, hooks, given)
        self._todo: deque[want.Effect] = deque()
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to work."""
        self._begin(self._run())

    async def stop(self) -> None:
        """Do nothing more."""
        self._claiming.stop()
        self._extended.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, effect: want.Effect) -> None:
        """Do this when its turn comes."""
        self._todo.append(effect)
        self._work.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("what a worker's message led to has failed", reason=str(error), exc_info=error)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._todo:
                effect = self._todo.popleft()
                try:
                    await self._do(effect)
                except CrossdockError as error:
                    _log.warning("the broker refused a worker's wish", wish=type(effect).__name__, reason=str(error))
                except Exception:  # noqa: BLE001 - one wish must not end the door for all
                    _log.exception("a worker's wish could not be done", wish=type(effect).__name__)

    async def _do(self, effect: want.Effect) -> None:
        broker = self._broker
        match effect:
            case want.End() if effect.running.token in self._claiming.published:
                self._begin(self._end(effect))
            case want.End():
                await self._end(effect)
            case want.Want():
                await self._claiming.claim(effect.worker)
            case want.Note():
                await broker.dispatch.note(effect.token, Note(step=step(effect.message)))
            case want.Ask():
                peer = effect.peer
                self._extended.ask(effect.worker, effect.message, lambda answer, lost: self._send(peer, answer, lost))
            case want.Attach():
                info = WorkerInfo(id=effect.worker, capabilities=effect.capabilities, description=effect.description)
                await broker.dispatch.attach(info, effect.tokens)
            case _:
                await self._do_seldom(effect)

    async def _do_seldom(self, effect: want.Effect) -> None:
        """Do what happens when workers come and go."""
        match effect:
            case want.Detach():
                self._detach(effect)
            case want.Lose():
                self._claiming.cancel(effect.worker)
                self._begin(self._lose(effect))
            case want.Release():
                self._claiming.published.pop(effect.token, None)
                self._begin(_report(self._broker.dispatch, self._counters, effect.token, _RELEASED))
            case want.Welcome():
                await self._welcome(effect)
            case want.Reclaim():
                found = await self._inheritance(effect.job)
                if found is not None:
                    self._carry_out(self._session.reclaimed(effect.peer, effect.job, found.worker, found.running))
            case want.Inherit():
                await self._inherit(effect)
            case _:
                raise AssertionError(f"nobody does {effect}")

    def _detach(self, effect: want.Detach) -> None:
        self._claiming.published.pop(effect.token, None)
        if effect.worker not in self._session.roster:  # else it came back before its turn to go
            self._claiming.cancel(effect.worker)
            self._extended.forget(effect.worker)
            self._begin(self._broker.dispatch.detach(effect.worker))

    async def _welcome(self, effect: want.Welcome) -> None:
        peer = effect.peer
        try:
            worker, answer = await self._extended.welcome(effect.init)
        except CrossdockError as error:
            self._counters.complain("refused worker", str(error), peer=peer.hex())
            self._send(peer, Extended(0, wire.encode_body(wire.Refused(error.code, error.message))), None)
            self._carry_out(self._session.turned_away(peer))
            return
        except BaseException:
            self._carry_out(self._session.turned_away(peer))
            raise
        self._send(peer, Extended(0, wire.encode_body(answer)), None)
        now = self._broker.clock.monotonic()
        self._carry_out(self._session.welcomed(peer, worker, effect.init, now))

    async def _inheritance(self, job: str) -> Inheritance | None:
        found = await find(self._broker, job)
        if found is not None and found.files is not None:
            self._claiming.published[found.running.token] = found.files
        return found

    async def _inherit(self, effect: want.Inherit) -> None:
        """Let what a stranger says count for the newest lease, unless who got that is connected: then it is another."""
        found = await self._inheritance(effect.done.job)
        if found is None or found.worker in self._session.roster:
            self._counters.count("jobs done by strangers")
            return
        self._begin(self._end(want.End(found.running, effect.done)))

    async def _end(self, effect: want.End) -> None:
        """Report how an attempt ended; for files that were published, after their result was taken in."""
        running, done = effect.running, effect.done
        ended = outcome(done, running.attempt, self._failures, delivered(running.result))
        lease = self._claiming.published.pop(running.token, None)
        if lease is not None and done.status == OK:
            ended = await _collect(self._hooks, lease)
        if done.status == INTERNAL_ERROR and running.attempt < self._failures:
            self._counters.count(RETRIED)
        await _report(self._broker.dispatch, self._counters, running.token, ended)

    async def _lose(self, effect: want.Lose) -> None:
        if effect.running is None:
            await self._extended.lose(effect.worker, effect.outcome)
            return
        self._claiming.published.pop(effect.running.token, None)
        await _report(self._broker.dispatch, self._counters, effect.running.token, effect.outcome)
        if effect.worker not in self._session.roster:
            await self._broker.dispatch.detach(effect.worker)


async def _collect(hooks: Hooks, lease: Lease) -> Outcome:
    try:
        result = await hooks.collect(lease)
    except CrossdockError as error:
        text = f"the results could not be taken in: {error.message}"
        return Outcome(kind=OutcomeKind.ERRORED, code=error.code, message=text)
    return Outcome(kind=OutcomeKind.SUCCEEDED, result=result or delivered(""))


async def _report(dispatch: BrokerDispatch, counters: Counters, token: int, ended: Outcome) -> None:
    verdict = await dispatch.report_soon(token, ended)
    if verdict.late:
        counters.count("reports that came too late")
