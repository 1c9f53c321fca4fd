"""Publishing that outlasts the broker: a letter waits while the connection is away or RabbitMQ blocks it."""

import asyncio
from contextlib import suppress
from typing import Final

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Bus, Letter, QueueFull, Unroutable

_PAUSE: Final = 5.0
"""Seconds after which a letter that could not be published is tried again, if no new connection is told of before."""


class PatientPublisher:
    """Publishes letters.

    Args:
        bus: the broker.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._connected = asyncio.Event()
        bus.on_connect(self._connect)

    async def publish(self, letter: Letter) -> None:
        """Publish a letter, however long it takes. One whose confirm was lost is published again, with the same id.

        Raises:
            Unroutable: there is no queue for it, the queue is full, or we may not publish there. That is the receiver's
                trouble: whoever waited here for one would keep others waiting.
            CrossdockError: ``too_large``.
        """
        while True:
            connected = self._connected
            try:
                return await self._bus.publish(letter)
            except QueueFull as error:
                raise Unroutable(error.message) from None
            except CrossdockError as error:
                if error.code is Code.UNAUTHORIZED:
                    raise Unroutable(error.message) from None
                if error.code is not Code.UNAVAILABLE:
                    raise
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    await connected.wait()

    def _connect(self) -> None:
        """Wake everybody whose letter failed on an older connection."""
        self._connected.set()
        self._connected = asyncio.Event()
