"""The clients' door on RabbitMQ: takes requests out of a queue of our own, and acknowledges them once they are on the disk.

Many deliveries are on their way at once and share a transaction. While the disk is full, or the broker cannot take jobs,
they are held and tried again here: RabbitMQ counts what it delivers again, and makes dead letters of what comes too often.
As unsettled deliveries are limited, RabbitMQ then keeps the rest.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

import structlog

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus import hops
from crossdock.protocols.jsonbus.burials import Burials
from crossdock.protocols.jsonbus.bus import Bus, Consumer, Delivery, Unroutable
from crossdock.protocols.jsonbus.caching import Cache, Placed
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.endings import refusal_letter
from crossdock.protocols.jsonbus.frontend_session import CONFLICT, Burial, Offer, Refusal, judge
from crossdock.protocols.jsonbus.names import requests_queue
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.patient_publisher import PatientPublisher
from crossdock.protocols.jsonbus.topology import Part, own_queue

_CLOSING: Final = 5.0
"""Seconds that requests on their way to the disk have to get there when the door closes."""
_INLINE: Final = 64 * 1024
"""Bytes of the largest body that is read on the event loop: a thread would cost more than it saves."""
_LARGE: Final = 2
"""Larger bodies that are read at once, as each becomes a multiple of itself in memory."""
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries to write, the last one again and again."""
_PATIENCE: Final = (1.0, 5.0)
"""Seconds after which a refusal is sent again whose receiver has no queue."""

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")

Sleep = Callable[[float], Awaitable[None]]


def node_parts(options: NodeOptions) -> tuple[Part, ...]:
    """Return the exchanges and queues that a node needs to take requests."""
    return own_queue(requests_queue(options.node), options.request_key, delivery_limit=options.delivery_limit)


class Frontend:
    """Takes requests of json-bus clients and other nodes.

    Args:
        options: the node's name, keys and rules.
        broker: takes the jobs.
        bus: where the requests come from.
        counters: what goes wrong.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        options: NodeOptions,
        broker: Broker,
        bus: Bus,
        counters: Counters | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.counters = counters or Counters(broker.clock.monotonic, _log.warning)
        self.placed: Counter[Placed] = Counter()
        """What became of the requests since the start."""
        self._options = options
        self._queue = requests_queue(options.node)
        self._bus = bus
        self._post = PatientPublisher(bus)
        self._burials = Burials(bus, self._queue, self.counters)
        self._cache = Cache(broker, options.keep)
        self._sleep = sleep
        self._large = asyncio.Semaphore(_LARGE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._patient = 0
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Open the door: have the queues declared, and take requests whenever there is a connection."""
        self._bus.require(node_parts(self._options))
        self._consumer = self._bus.consume(self._queue, self._receive, prefetch=self._options.prefetch)

    async def stop(self) -> None:
        """Close the door: nothing more is taken, and what was taken is settled, or comes again elsewhere."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._handle(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, delivery: Delivery) -> None:
        """Settle a delivery, whatever is in it."""
        try:
            await self._settle(delivery, await self._judge(delivery))
        except Exception:  # noqa: BLE001 - whatever one request led to, the next one has its turn
            _log.exception("a request could not be handled")
            await self._sleep(_PAUSES[-1])
            delivery.reject(requeue=True)  # so often that it becomes a dead letter

    async def _judge(self, delivery: Delivery) -> Offer | Refusal | Burial:
        if len(delivery.body) <= _INLINE:
            return self._read(delivery)
        async with self._large:
            return await asyncio.to_thread(self._read, delivery)

    def _read(self, delivery: Delivery) -> Offer | Refusal | Burial:
        passed = hops.from_headers(delivery.headers)
        return judge(decode(delivery.body), delivery.reply_to, passed, self._options.lists)

    async def _settle(self, delivery: Delivery, found: Offer | Refusal | Burial) -> None:
        if isinstance(found, Offer):
            placed = await self._place(found)
            if not isinstance(placed, Refusal):
                self.placed[placed] += 1
                delivery.accept()
                return
            found = placed
        kept = True
        if isinstance(found, Burial) or not found.sound:
            self.counters.complain("requests that are none", found.reason)
            kept = await self._burials.keep(delivery, found.reason)
        if isinstance(found, Refusal) and not await self._refuse(delivery, found) and found.sound:
            kept = await self._burials.keep(delivery, f"{found.reason} (and its client has no queue for this answer)")
        if kept:
            delivery.accept()
        else:
            delivery.reject(requeue=False)

    async def _place(self, offer: Offer) -> Placed | Refusal:
        """Make a job of a request, or say why there can be none. Trouble of our own is waited out."""
        tries = 0
        while True:
            try:
                placed = await self._cache.place(offer)
            except CrossdockError as error:
                if error.code not in (Code.UNAVAILABLE, Code.INTERNAL):
                    return Refusal(offer.asker, error.message, str(error.code))
                self.counters.complain("requests have to wait", str(error))
                await self._sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            else:
                return Refusal(offer.asker, CONFLICT, str(Code.CONFLICT)) if placed is Placed.CONFLICT else placed

    async def _refuse(self, delivery: Delivery, refusal: Refusal) -> bool:
        """Answer with a failure, some of them several times; tell whether somebody got it."""
        self.counters.complain("requests refused", refusal.reason, client=refusal.asker.client, id=refusal.asker.request)
        letter = refusal_letter(refusal, sha256(delivery.body).hexdigest())
        patient = self._patient < self._options.prefetch // 4
        self._patient += patient
        try:
            for pause in (*(_PATIENCE if patient else ()), None):
                try:
                    await self._post.publish(letter)
                except Unroutable:
                    if pause is not None:
                        await self._sleep(pause)
                else:
                    return True
            self.counters.count("refusals that nobody takes")
            return False
        finally:
            self._patient -= patient
