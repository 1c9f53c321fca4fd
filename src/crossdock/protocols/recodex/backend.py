"""The workers' door over ZeroMQ: reads, lets the session decide, answers, and watches the time."""

import asyncio
import secrets
from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Any, Final

import structlog

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex import backend_effects as want
from crossdock.protocols.recodex.backend_errands import Errands
from crossdock.protocols.recodex.backend_session import BackendSession
from crossdock.protocols.recodex.codec import decode_from_worker, encode_to_worker
from crossdock.protocols.recodex.extension import LARGEST
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.messages import Evaluate, ToWorker
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.protocols.recodex.sockets import Batch, Lost, Router
from crossdock.protocols.recodex.translation import PLAIN

_LOOKS: Final = 4
_LOOK: Final = 0.25
"""How often within a ping interval the time is looked at, and the seconds between two looks at most."""

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Backend:
    """Gives jobs to ReCodEx workers.

    Args:
        options: where to listen, and the rules.
        broker: has the jobs.
        hooks: who watches, and who moves files for workers that only know URLs.
        counters: what goes wrong; shared with the frontend.
    """

    def __init__(
        self, options: RecodexOptions, broker: Broker, hooks: Hooks | None = None, counters: Counters | None = None
    ) -> None:
        self._options = options
        self._broker = broker
        self._hooks = hooks or Hooks()
        self._counters = counters or Counters(broker.clock.monotonic, _log.warning)
        # Routing ids begin anew with every process, so they are no part of the names.
        start, numbers = f"{PLAIN}{secrets.token_hex(4)}/", count(1)
        self._session = BackendSession(
            options.silence, options.max_request_failures, lambda: f"{start}{next(numbers)}", options.ping_interval
        )
        self._errands = Errands(
            broker, self._hooks, self._counters, options.max_request_failures, self._session, self._carry_out, self._send
        )
        self._time: asyncio.Task[None] | None = None
        self._router = Router(
            options.workers, self._receive, largest=LARGEST, insecure=options.insecure, curve=options.curve
        )

    @property
    def port(self) -> int:
        """The port that the door is open on."""
        return self._router.port

    async def start(self) -> None:
        """Open the door."""
        await self._router.start()
        self._errands.start()
        self._time = asyncio.create_task(self._keep_time())

    async def stop(self) -> None:
        """Close the door. What workers hold stays theirs: they come back to it."""
        self._router.pause()
        if self._time is not None:
            self._time.cancel()
            await asyncio.gather(self._time, return_exceptions=True)
        await self._errands.stop()
        await self._router.stop()

    def _receive(self, batch: Batch) -> None:
        now = self._broker.clock.monotonic()
        for peer, frames in batch:
            try:
                self._carry_out(self._session.receive(peer, decode_from_worker(frames), now))
            except Exception:  # noqa: BLE001 - whatever one message led to, the next one is read
                _log.exception("a worker's message could not be handled", peer=peer.hex())

    def _carry_out(self, effects: Iterable[want.Effect]) -> None:
        """Do at once what needs no waiting, and leave the rest to the errands."""
        for effect in effects:
            match effect:
                case want.Send():
                    lost = partial(self._lost, effect) if isinstance(effect.message, Evaluate) else None
                    self._send(effect.peer, effect.message, lost)
                case want.Pass():
                    self._pass(effect)
                case want.Complain():
                    self._counters.complain(effect.name, effect.reason, peer=effect.peer.hex())
                case _:
                    self._errands.add(effect)

    def _send(self, peer: bytes, message: ToWorker, lost: Lost | None = None) -> None:
        self._router.send(peer, encode_to_worker(message), lost)

    def _lost(self, effect: want.Send) -> None:
        self._counters.count("jobs for workers that have gone")
        self._carry_out(self._session.undelivered(effect.peer, effect.message))

    def _pass(self, effect: want.Pass) -> None:
        job, frames = effect.frames[0].decode(errors="backslashreplace"), effect.frames[1:]
        self._hooks.feed(job, frames)
        if effect.stray:
            self._hooks.raw(job, frames)

    async def _keep_time(self) -> None:
        """Notice workers that fell silent, and keep the leases of the others alive."""
        clock, interval = self._broker.clock, self._options.ping_interval
        renewed = clock.monotonic()
        while True:
            await asyncio.sleep(min(interval / _LOOKS, _LOOK))
            try:
                self._router.drain()
                now = clock.monotonic()
                self._carry_out(self._session.tick(now))
                if now - renewed >= interval:
                    renewed = now
                    await self._renew()
            except Exception:  # noqa: BLE001 - the time goes on whatever happens at one moment
                _log.exception("the workers could not be looked after")

    async def _renew(self) -> None:
        for peer in self._session.roster:
            if peer.extended:  # they do it themselves
                continue
            tokens = (peer.running.token,) if peer.running is not None and peer.running.token else ()
            try:
                await self._broker.dispatch.renew(peer.worker, tokens)
            except CrossdockError as error:
                if error.code is Code.NOT_FOUND and self._session.roster.get(peer.id) is peer:
                    self._carry_out(self._session.forgotten(peer))
