"""What cannot be handled, kept with the reason in the queue of dead letters beside the queue that it came from."""

import asyncio
from typing import Final

from crossdock.core.counters import Counters
from crossdock.core.errors import CrossdockError
from crossdock.protocols.jsonbus.bus import Bus, Delivery, Letter, Unroutable
from crossdock.protocols.jsonbus.letters import REASON
from crossdock.protocols.jsonbus.patient_publisher import PatientPublisher
from crossdock.protocols.jsonbus.topology import DEAD

ORIGINAL_KEY: Final = "x-original-key"
"""The header of a dead letter with the routing key that it was published under."""

_REASON: Final = 1000


class Burials:
    """Makes dead letters of what came from one queue.

    Args:
        bus: RabbitMQ.
        queue: where they came from.
        counters: where they are counted.
    """

    def __init__(self, bus: Bus, queue: str, counters: Counters) -> None:
        self._post = PatientPublisher(bus)
        self._queue = queue
        self._counters = counters
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, delivery: Delivery, reason: str) -> None:
        """Have a delivery kept, and settle it then. RabbitMQ keeps those that cannot be kept here, without the reason."""
        task = asyncio.create_task(self._settle(delivery, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def keep(self, delivery: Delivery, reason: str) -> bool:
        """Keep what came as a dead letter that says why it is one; tell whether that was possible."""
        headers: dict[str, str | int | float | bool | None] = {REASON: reason[:_REASON], ORIGINAL_KEY: delivery.key}
        letter = Letter(
            body=delivery.body,
            key=self._queue,
            kind="",
            id=delivery.id,
            correlation=delivery.correlation,
            exchange=DEAD,
            headers=headers,
        )
        self._counters.count("dead letters")
        try:
            await self._post.publish(letter)
        except (Unroutable, CrossdockError) as error:
            self._counters.complain("dead letters without a reason", str(error) or "their queue is gone")
            return False
        return True

    async def stop(self) -> None:
        """Begin nothing more. What is not settled comes again elsewhere."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(self, delivery: Delivery, reason: str) -> None:
        if await self.keep(delivery, reason):
            delivery.accept()
        else:
            delivery.reject(requeue=False)
