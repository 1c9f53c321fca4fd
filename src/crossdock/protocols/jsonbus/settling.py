"""Deliveries of one channel and their acknowledgements, which go out together."""

import asyncio
from collections import deque
from collections.abc import Callable

from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPError

from crossdock.protocols.jsonbus.properties import read_properties
from crossdock.protocols.jsonbus.sorting import Arrived


class Settling:
    """What of a channel is not settled yet.

    Acknowledgements gather while others are written, and those of a row go as one. Those of a channel that is gone are
    dropped, as RabbitMQ delivers the messages again.

    Args:
        channel: where they came from.
        settled: is called after some were.
    """

    def __init__(self, channel: AbstractChannel, settled: Callable[[], None]) -> None:
        self.open: dict[int, bool] = {}
        """Tags in the order they came, and whether they are accepted and only not yet acknowledged."""
        self._channel = channel
        self._settled = settled
        self._rejected: deque[tuple[int, bool]] = deque()
        self._accepted = 0
        self._held = False
        self._writing: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Write nothing for now: for whatever is settled RabbitMQ would deliver more."""
        self._held = True

    def release(self) -> None:
        """Write again."""
        self._held = False
        if self._rejected or self._accepted:
            self._write_soon()

    def accept(self, tag: int) -> None:
        """Acknowledge a delivery soon."""
        if self.open.get(tag) is False:
            self.open[tag] = True
            self._accepted += 1
            self._write_soon()

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give a delivery back soon."""
        if self.open.get(tag) is False:
            del self.open[tag]
            self._rejected.append((tag, requeue))
            self._write_soon()

    def before(self, tag: int) -> int:
        """Return how many deliveries up to a tag are not settled."""
        return sum(other <= tag for other in self.open)

    async def flushed(self) -> None:
        """Wait until what was settled is written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def _write_soon(self) -> None:
        if self._writing is None and not self._held and not self._channel.is_closed:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while (self._rejected or self._accepted) and not self._held:
                # A row would acknowledge whatever was given back meanwhile and is not written yet.
                while self._rejected:
                    tag, requeue = self._rejected.popleft()
                    await self._channel.basic_reject(tag, requeue=requeue, wait=False)
                row, single = self._take()
                if row:
                    await self._channel.basic_ack(row, multiple=True, wait=False)
                for tag in single:
                    await self._channel.basic_ack(tag, wait=False)
                self._settled()
        except (AMQPError, RuntimeError, OSError):
            self.open.clear()
        finally:
            self._writing = None

    def _take(self) -> tuple[int, list[int]]:
        """Take out what is accepted: the last of those before which nothing is open, and the others."""
        row = 0
        single: list[int] = []
        waiting = False
        for tag, accepted in self.open.items():
            if not accepted:
                waiting = True
            elif waiting:
                single.append(tag)
            else:
                row = tag
            if accepted:
                self._accepted -= 1
                if not self._accepted:
                    break
        self.open = {tag: False for tag, accepted in self.open.items() if not accepted}
        return row, single


class Incoming:
    """A delivery; see the port. Settling it twice, or after its channel is gone, does nothing."""

    __slots__ = ("_settling", "_tag", "body", "correlation", "headers", "id", "key", "redelivered", "reply_to")

    def __init__(self, arrived: Arrived, settling: Settling | None) -> None:
        properties = read_properties(arrived.properties)
        self.body = arrived.body
        self.key = arrived.key
        self.redelivered = arrived.redelivered
        self.headers = properties.headers
        self.id = properties.id
        self.correlation = properties.correlation
        self.reply_to = properties.reply_to
        self._tag = arrived.tag
        self._settling = settling
        if settling is not None:
            settling.open[self._tag] = False

    def accept(self) -> None:
        """Acknowledge it."""
        if self._settling is not None:
            self._settling.accept(self._tag)

    def reject(self, *, requeue: bool) -> None:
        """Give it back."""
        if self._settling is not None:
            self._settling.reject(self._tag, requeue=requeue)
