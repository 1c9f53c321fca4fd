"""Where a worker's jobs come from: our own quorum queue if there is one, else the queue of the PHP library."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

import structlog

from crossdock.core.errors import CrossdockError
from crossdock.protocols.jsonbus.bus import Bus, Consumer, Delivery
from crossdock.protocols.jsonbus.names import jobs_queue
from crossdock.protocols.jsonbus.topology import Queue, foreign_queue
from crossdock.protocols.jsonbus.worker_address import WorkerAddress

LOOK_AGAIN: Final = 30.0
"""Seconds after which a worker at a queue of the PHP library looks if there is one of ours by now."""

_log: Final[Any] = structlog.get_logger("crossdock.worker")


class JobsSource:
    """The jobs queues that a worker consumes.

    Args:
        bus: RabbitMQ.
        address: the names of the queues.
        receive: is given what comes, and whether from a queue of the PHP library.
        found: is given the name of every queue from which jobs are taken.
        look_again: seconds between two looks for a queue of ours.
    """

    def __init__(
        self,
        bus: Bus,
        address: WorkerAddress,
        receive: Callable[[Delivery, bool], None],
        found: Callable[[str], None],
        look_again: float,
    ) -> None:
        self._bus = bus
        self._own = jobs_queue(address.node)
        self._foreign = address.jobs
        self._receive = receive
        self._found = found
        self._look_again = look_again
        self._consumers: dict[str, Consumer] = {}
        self._prefetch = 0
        self._open = False
        self._looked = 0.0

    async def open(self, prefetch: int) -> None:
        """Take jobs, as many as may be unsettled.

        Raises:
            CrossdockError: ``unavailable`` while RabbitMQ is away; then it is as if nothing had been asked.
        """
        there = await self._bus.exists(self._own)
        self._open, self._prefetch, self._looked = True, prefetch, _now()
        self._consume(there)

    @property
    def pause(self) -> float:
        """Seconds until :meth:`look_again` has something to look for."""
        if not self._open or self._own in self._consumers:
            return math.inf
        return max(self._looked + self._look_again - _now(), 0.0)

    async def look_again(self) -> None:
        """See, not too often, if there is a queue of ours by now.

        The queue of the PHP library is not left for it: it would vanish with what waits in it.
        """
        if self.pause > 0:
            return
        self._looked = _now()
        try:
            there = await self._bus.exists(self._own)
        except CrossdockError as error:
            _log.info("whether there is a jobs queue of ours cannot be told now", reason=str(error))
        else:
            self._consume(there)

    def limit(self, prefetch: int) -> None:
        """Have at most this many jobs unsettled from now on."""
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            for consumer in self._consumers.values():
                consumer.limit(prefetch)

    async def close(self) -> None:
        """Take nothing more."""
        self._open = False
        consumers, self._consumers = self._consumers, {}
        for consumer in consumers.values():
            await consumer.close()

    def _consume(self, own: bool) -> None:
        queue = self._own if own else self._foreign
        if not self._open or queue in self._consumers:
            return
        self._bus.require((Queue(name=queue, passive=True),) if own else foreign_queue(queue))
        receive = self._receive
        self._consumers[queue] = self._bus.consume(queue, lambda one: receive(one, not own), prefetch=self._prefetch)
        _log.info("jobs are taken", queue=queue)
        self._found(queue)


def _now() -> float:
    return asyncio.get_running_loop().time()
