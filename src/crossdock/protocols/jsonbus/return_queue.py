"""The queue in which comes back what was sent out: results of workers, or answers of other nodes."""

import asyncio
from collections.abc import Iterable

from crossdock.core.counters import Counters
from crossdock.protocols.jsonbus.burials import Burials
from crossdock.protocols.jsonbus.bus import Bus, Consumer, Delivery, Receive
from crossdock.protocols.jsonbus.messages import Message, Refused
from crossdock.protocols.jsonbus.topology import Part
from crossdock.protocols.jsonbus.waiting import Waiting


class ReturnQueue:
    """Consumes a queue, and looks after those who wait for what comes.

    Args:
        bus: RabbitMQ.
        name: of the queue.
        waiting: who waits.
        counters: where nonsense is counted.
    """

    def __init__(self, bus: Bus, name: str, waiting: Waiting, counters: Counters) -> None:
        self._bus = bus
        self._name = name
        self._waiting = waiting
        self._counters = counters
        self._burials = Burials(bus, name, counters)
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, parts: Iterable[Part], receive: Receive, prefetch: int) -> None:
        """Have exchanges and queues declared, and begin to take what comes back."""
        self._bus.require(parts)
        self._task = asyncio.create_task(self._waiting.run())
        self._consumer = self._bus.consume(self._name, receive, prefetch=prefetch)

    async def stop(self) -> None:
        """Take nothing more."""
        if self._consumer is not None:
            await self._consumer.close()
        await self._burials.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def bury(self, delivery: Delivery, message: Message | Refused, complaint: str, otherwise: str) -> None:
        """Make a dead letter of what is of no use here: its own fault says why, else ``otherwise`` does."""
        reason = message.reason if isinstance(message, Refused) else otherwise
        self._counters.complain(complaint, reason, queue=self._name)
        self._burials.begin(delivery, reason)
