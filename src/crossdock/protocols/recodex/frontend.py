"""The clients' door over ZeroMQ: carries out what the session wants, with many jobs on their way to the disk at once."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.errors import CrossdockError
from crossdock.core.requests import Record
from crossdock.protocols.recodex.codec import decode_from_client, encode_to_client
from crossdock.protocols.recodex.frontend_session import Effect, FrontendSession, Keep, Look, Offer, Send
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.messages import EVALUATION, Accept, Ack, Reject, Stats
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.protocols.recodex.sockets import Batch, Router
from crossdock.protocols.recodex.statistics import statistics
from crossdock.protocols.recodex.submissions import Submissions
from crossdock.protocols.recodex.translation import kind_of

_LARGEST: Final = 2**20
"""The greatest frame in bytes that a client may send."""
_CLOSING: Final = 5.0
"""Seconds that jobs on their way to the disk have to get there when the door closes."""
_FLAG: Final = ("recodex", "frozen")

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Frontend:
    """Takes jobs from ReCodEx clients.

    Args:
        options: where to listen, and the rules.
        broker: takes the jobs.
        hooks: who watches, and who fetches payloads.
        counters: what goes wrong; shared with the backend.
    """

    def __init__(
        self, options: RecodexOptions, broker: Broker, hooks: Hooks | None = None, counters: Counters | None = None
    ) -> None:
        self._options = options
        self._broker = broker
        self._hooks = hooks or Hooks()
        self._counters = counters or Counters(broker.clock.monotonic, _log.warning)
        self._session = FrontendSession()
        self._submissions = Submissions(options, broker, self._hooks, self._settle)
        self._offers: list[Offer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stats: Stats | None = None
        self._stopping = False
        self._router = Router(
            options.clients, self._receive, largest=_LARGEST, insecure=options.insecure, curve=options.curve
        )

    @property
    def port(self) -> int:
        """The port that the door is open on."""
        return self._router.port

    async def start(self) -> None:
        """Open the door. A broker that was frozen when it ended still is."""
        flag = await self._broker.records.get(*_FLAG)
        self._session.frozen = flag is not None and flag.value == b"1"
        await self._router.start()

    async def stop(self) -> None:
        """Close the door: nothing more is read, and what was read is answered."""
        self._stopping = True
        self._router.pause()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSING)
        for task in self._tasks:
            task.cancel()
        await self._router.stop()

    def _receive(self, batch: Batch) -> None:
        self._stats = None
        for peer, frames in batch:
            try:
                self._carry_out(self._session.receive(peer, decode_from_client(frames)))
            except Exception:  # noqa: BLE001 - whatever one message led to, the next one is read
                _log.exception("a client's message could not be handled", peer=peer.hex())
        if self._offers:
            offers, self._offers = self._offers, []
            self._begin(self._submissions.take(offers))
        if self._session.unsettled > self._options.in_flight:
            self._router.pause()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._router.send(effect.peer, encode_to_client(effect.message), self._lost)
            elif isinstance(effect, Offer):
                self._offer(effect)
            elif isinstance(effect, Keep):
                self._begin(self._keep(effect))
            elif isinstance(effect, Look):
                self._settle(effect.ticket, self._look())
            else:
                self._counters.complain(effect.name, effect.reason, peer=effect.peer.hex())

    def _offer(self, effect: Offer) -> None:
        """Take evaluations together, and jobs of other kinds each by itself: their payloads have to be fetched first."""
        if kind_of(effect.message) == EVALUATION:
            self._offers.append(effect)
        else:
            self._begin(self._submissions.take([effect]))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lost(self) -> None:
        self._counters.count("replies to clients that have gone")

    def _settle(self, ticket: int, reply: Accept | Reject | Stats | Ack | None) -> None:
        self._carry_out(self._session.settle(ticket, reply))
        if not self._stopping and self._session.unsettled <= self._options.in_flight // 2:
            self._router.resume()

    def _look(self) -> Stats:
        """Return the counters; whoever asks in one batch gets the same, so that asking often costs little."""
        if self._stats is None:
            self._stats = statistics(self._broker, self._counters)
        return self._stats

    async def _keep(self, effect: Keep) -> None:
        reply = None
        try:
            await self._broker.records.put([Record(*_FLAG, b"1" if effect.frozen else b"0")])
            reply = Ack()
        except CrossdockError as error:
            _log.error("freezing could not be written", frozen=effect.frozen, reason=str(error))
        self._settle(effect.ticket, reply)
