"""A RabbitMQ broker in memory, for tests of json-bus without one: the port ``Bus``, exchanges, queues and dead letters.

It does what RabbitMQ does with what json-bus uses of it: direct exchanges, mandatory publishing, prefetch, deliveries that
come again, delivery limits, dead letters, queues that vanish. ``go``, ``hold`` and ``lose`` make it misbehave.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter, QueueFull, Receive, Unroutable
from crossdock.protocols.jsonbus.topology import BUS, Binding, Part, Queue

PATIENCE = 10.0
"""Seconds to wait for what has to come."""


class MemoryDelivery:
    """Implements :class:`~crossdock.protocols.jsonbus.bus.Delivery`; ``settled`` says how it ended."""

    def __init__(self, queue: "MemoryQueue", letter: Letter, reply_to: str = "", exchange: str = BUS) -> None:
        self.letter = letter
        self.body = letter.body
        self.key = letter.key
        self.headers: Mapping[str, object] = dict(letter.headers)
        self.id = letter.id
        self.correlation = letter.correlation
        self.reply_to = reply_to
        self.exchange = exchange
        self.redelivered = False
        self.returns = 0
        self.settled = ""
        self.consumer: MemoryConsumer | None = None
        self._queue = queue

    def accept(self) -> None:
        self._queue.settle(self, "accepted")

    def reject(self, *, requeue: bool) -> None:
        self._queue.settle(self, "requeued" if requeue else "dead")


class MemoryConsumer:
    """Implements :class:`~crossdock.protocols.jsonbus.bus.Consumer`."""

    def __init__(self, queue: "MemoryQueue", receive: Receive, prefetch: int, *, acknowledge: bool) -> None:
        self.prefetch = prefetch
        self.receive = receive
        self.acknowledge = acknowledge
        self.open = True
        self._queue = queue

    def limit(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self._queue.pump()

    async def close(self) -> None:
        self.open = False
        self._queue.consumers.remove(self)


class MemoryQueue:
    """One queue: what waits, and what was delivered and is not settled."""

    def __init__(self, bus: "MemoryBus", name: str, arguments: Mapping[str, str | int | bool]) -> None:
        self.name = name
        self.waiting: deque[MemoryDelivery] = deque()
        self.unsettled: list[MemoryDelivery] = []
        self.consumers: list[MemoryConsumer] = []
        self.arrived = asyncio.Event()
        self._bus = bus
        self._arguments = arguments

    def put(self, letter: Letter, reply_to: str) -> None:
        self.waiting.append(MemoryDelivery(self, letter, reply_to, letter.exchange))
        self.arrived.set()
        self.pump()

    def pump(self) -> None:
        """Give consumers what they may have."""
        if self._bus.away:
            return
        for consumer in self.consumers:
            while self.waiting and consumer.open and self._may_have_more(consumer):
                delivery = self.waiting.popleft()
                if consumer.acknowledge:
                    delivery.consumer = consumer
                    self.unsettled.append(delivery)
                asyncio.get_running_loop().call_soon(consumer.receive, delivery)

    def _may_have_more(self, consumer: MemoryConsumer) -> bool:
        held = sum(delivery.consumer is consumer for delivery in self.unsettled)
        return not consumer.acknowledge or held < consumer.prefetch

    def settle(self, delivery: MemoryDelivery, how: str) -> None:
        if delivery not in self.unsettled:
            return  # it belonged to a connection that was lost: RabbitMQ has it queued again
        self.unsettled.remove(delivery)
        delivery.settled = how
        self._bus.settlements.append((how, delivery))
        if how == "requeued":
            self._back(delivery)
        elif how == "dead":
            self._bury(delivery, "rejected")
        self.pump()

    def give_back(self) -> None:
        """Queue again whatever is not settled, as RabbitMQ does for a lost connection."""
        lost, self.unsettled = self.unsettled, []
        for delivery in reversed(lost):
            self._back(delivery)

    def _back(self, delivery: MemoryDelivery) -> None:
        again = MemoryDelivery(self, delivery.letter, delivery.reply_to, delivery.exchange)
        again.redelivered, again.returns = True, delivery.returns + 1
        if again.returns > int(self._arguments.get("x-delivery-limit", 1_000_000)):
            self._bury(again, "delivery_limit")
        else:
            self.waiting.appendleft(again)

    def _bury(self, delivery: MemoryDelivery, reason: str) -> None:
        exchange = str(self._arguments.get("x-dead-letter-exchange", ""))
        key = str(self._arguments.get("x-dead-letter-routing-key", self.name))
        headers = {**delivery.letter.headers, "x-first-death-reason": reason}
        self._bus.route(replace(delivery.letter, exchange=exchange, key=key, headers=headers), delivery.reply_to)


class MemoryBus:
    """Implements :class:`~crossdock.protocols.jsonbus.bus.Bus`.

    ``letters`` are those published by the side under test and routed; ``settlements`` is how deliveries ended. ``lose``
    is how many of the next letters arrive without their confirm. ``full`` are the keys whose queues refuse letters,
    ``forbidden`` are exchanges that we may not publish to.
    """

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}
        self.bindings: dict[tuple[str, str], set[str]] = {}
        self.letters: list[Letter] = []
        self.settlements: list[tuple[str, MemoryDelivery]] = []
        self.lose = 0
        self.full: set[str] = set()
        self.forbidden: set[str] = set()
        self.largest = 2**27
        self.tries = 0
        self.away = False
        self._gate = asyncio.Event()
        self._gate.set()
        self._calls: list[Callable[[], None]] = []

    # What the side under test sees

    def require(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if isinstance(part, Queue):
                self.queues.setdefault(part.name, MemoryQueue(self, part.name, part.arguments))
            elif isinstance(part, Binding):
                self.bindings.setdefault((part.exchange, part.key), set()).add(part.queue)

    async def publish(self, letter: Letter) -> None:
        self.tries += 1
        await self._gate.wait()
        if self.away:
            raise CrossdockError(Code.UNAVAILABLE, "the connection to RabbitMQ is away")
        if len(letter.body) > self.largest:
            raise CrossdockError(Code.TOO_LARGE, f"RabbitMQ takes at most {self.largest} bytes")
        if letter.exchange in self.forbidden:
            raise CrossdockError(Code.UNAUTHORIZED, f"the user lacks a permission on {letter.exchange!r}")
        if letter.key in self.full:
            raise QueueFull
        if not self.route(letter):
            raise Unroutable
        self.letters.append(letter)
        await asyncio.sleep(0)
        if self.lose:
            self.lose -= 1
            raise CrossdockError(Code.UNAVAILABLE, "the connection was lost before the confirm")

    def consume(self, queue: str, receive: Receive, *, prefetch: int, acknowledge: bool = True) -> MemoryConsumer:
        consumer = MemoryConsumer(self.queues[queue], receive, prefetch, acknowledge=acknowledge)
        self.queues[queue].consumers.append(consumer)
        self.queues[queue].pump()
        return consumer

    async def exists(self, queue: str) -> bool:
        if self.away:
            raise CrossdockError(Code.UNAVAILABLE, "the connection to RabbitMQ is away")
        return queue in self.queues

    def on_connect(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    # What other peers do

    def declare(self, queue: str, key: str = "") -> None:
        """Declare a peer's queue, bound to the exchange ``jsonbus``."""
        self.require((Queue(name=queue, auto_delete=True), Binding(exchange=BUS, queue=queue, key=key or queue)))

    def vanish(self, queue: str) -> None:
        """Delete a queue with all that is in it."""
        del self.queues[queue]
        for bound in self.bindings.values():
            bound.discard(queue)

    def send(
        self, body: bytes, key: str = "requests", *, reply_to: str = "", headers: Mapping[str, str | int] | None = None
    ) -> bool:
        """Publish as a peer does, without a confirm; tell whether it was routed."""
        return self.route(Letter(body=body, key=key, kind="", id="", headers=headers or {}), reply_to)

    async def get(self, queue: str, patience: float = PATIENCE) -> Letter:
        """Take the next letter out of a queue, waiting for it."""
        async with asyncio.timeout(patience):
            while not (self.queues.get(queue) and self.queues[queue].waiting):
                if queue in self.queues:
                    self.queues[queue].arrived.clear()
                    await self.queues[queue].arrived.wait()
                else:
                    await asyncio.sleep(0)
        return self.queues[queue].waiting.popleft().letter

    def size(self, queue: str) -> int:
        """Return how many letters wait in a queue."""
        return len(self.queues[queue].waiting)

    # What happens to the broker

    def route(self, letter: Letter, reply_to: str = "") -> bool:
        """Put a letter into the queues it is for; tell whether there are any."""
        names = self.bindings.get((letter.exchange, letter.key), set())
        if letter.exchange == "" and letter.key in self.queues:
            names = {letter.key}
        for name in names:
            self.queues[name].put(letter, reply_to)
        return bool(names)

    def hold(self) -> None:
        """Let publishers wait from now on, as RabbitMQ does when it is short of memory."""
        self._gate.clear()

    def release(self) -> None:
        """Take letters again."""
        self._gate.set()

    def go(self) -> None:
        """Lose the connection: what is not settled is queued again, and nothing can be published."""
        self.away = True
        for queue in self.queues.values():
            queue.give_back()

    def come(self) -> None:
        """Have a connection again."""
        self.away = False
        for queue in self.queues.values():
            queue.pump()
        for call in self._calls:
            call()
