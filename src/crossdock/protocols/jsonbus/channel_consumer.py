"""The consumer on one channel; it is gone with the channel."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from aiormq import Channel, Connection
from aiormq.abc import DeliveredMessage

from crossdock.protocols.jsonbus.bus import Receive
from crossdock.protocols.jsonbus.complaints import FAILURES
from crossdock.protocols.jsonbus.declaring import PATIENCE
from crossdock.protocols.jsonbus.settling import Incoming, Settling
from crossdock.protocols.jsonbus.sorting import Arrived, Sorter

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")

ANSWER: Final = 4.0
"""Seconds until RabbitMQ has to answer about a consumer: one of a quorum queue without a leader never does."""
_EXACT: Final = 16
"""The largest limit that is met exactly."""


class ChannelConsumer:
    """Consumes a queue with a limit that can change.

    RabbitMQ knows no change of a consumer's limit: it is ended, and another one takes its place. Deliveries to the former
    one that are not settled count against the limit.

    Args:
        channel: used by nothing else.
        sorter: gives us what is delivered on it.
        queue: what is consumed.
        receive: takes the deliveries.
        acknowledge: whether they are settled at all.
        changed: is told when the consumer may not be any more what it should be.
    """

    def __init__(
        self,
        channel: Channel,
        sorter: Sorter,
        queue: str,
        receive: Receive,
        changed: Callable[[], None],
        *,
        acknowledge: bool,
    ) -> None:
        self.channel = channel
        self.ended = False
        """Whether RabbitMQ ended it, as the queue is gone."""
        self._queue = queue
        self._receive = receive
        self._changed = changed
        self._acknowledge = acknowledge
        self._settling = Settling(channel, self._settled)
        self._tag: str | None = None
        self._quota = 0
        self._former = 0
        """The last delivery of the consumers before this one."""
        self._last = 0
        self._holds = 0
        self._leaving: asyncio.Task[None] | None = None
        self._left = False
        sorter.divert(channel.number, self._take)
        closing = cast("asyncio.Future[None]", channel.closing)  # pyright: ignore[reportUnknownMemberType]
        closing.add_done_callback(lambda _: sorter.leave(channel.number, self._take))

    def usable(self, connection: Connection) -> bool:
        """Return whether the channel is open, and one of this connection."""
        return not self.channel.is_closed and self.channel.connection is connection

    async def adjust(self, limit: int, *, keep: bool, renew: bool, doubt: bool) -> None:
        """Have the consumer that there should be. Raises what the library raises.

        Args:
            limit: how many deliveries may be unsettled.
            keep: whether the queue vanishes with its last consumer, so that there always has to be one.
            renew: whether to subscribe anew in any case.
            doubt: whether to ask RabbitMQ first if anybody consumes the queue.
        """
        holds = self._holds
        try:
            await self._adjust(limit, keep=keep, renew=renew, doubt=doubt)
        finally:
            if holds == self._holds:  # else the limit was lowered again meanwhile
                self._settling.release()

    async def _adjust(self, limit: int, *, keep: bool, renew: bool, doubt: bool) -> None:
        if doubt and self._tag is not None:
            answer = await self.channel.queue_declare(self._queue, passive=True, timeout=ANSWER)
            renew = renew or not answer.consumer_count
        if not renew and self._fits(limit):
            return
        before, self._tag = self._tag, None
        if before is not None and not keep:
            await self.channel.basic_cancel(before, timeout=ANSWER)
        free = limit - self._unsettled(self._last)
        if free > 0 or keep:
            await self._consume(max(1, free))
        if before is not None and keep:
            await self.channel.basic_cancel(before, timeout=ANSWER)

    def hold(self) -> None:
        """Write no acknowledgements until the consumer is adjusted, so that a lower limit is in force at once."""
        self._holds += 1
        self._settling.hold()

    async def leave(self) -> None:
        """Take nothing more. The channel is closed once all that came is settled."""
        self._left = True
        with suppress(*FAILURES):
            if self._tag is not None and not self.channel.is_closed:
                await self.channel.basic_cancel(self._tag, timeout=ANSWER)
        self._tag = None
        self._settling.release()
        self._settled()
        if self._leaving is not None:
            # Not awaited itself: the library cancels whoever waits for a channel whose connection goes.
            await asyncio.wait([self._leaving])

    async def drop(self) -> None:
        """Close the channel; what is not settled comes again."""
        await self._settling.flushed()
        with suppress(*FAILURES):
            await self.channel.close(timeout=ANSWER)

    def cancelled(self, _frame: object) -> None:
        """Take the fact that RabbitMQ ended the consumer."""
        self._tag, self.ended = None, True
        self._changed()

    def _fits(self, limit: int) -> bool:
        """Return whether what may be unsettled is near enough to the limit, below it.

        Under load there is always something of former consumers open, so that large limits would never be met.
        """
        if not self._acknowledge:
            return (self._tag is not None) == (limit > 0)
        if self._tag is None:
            return self._unsettled(self._last) >= limit
        may = self._unsettled(self._former) + self._quota
        return may == limit or (limit > _EXACT and limit <= 2 * may <= 2 * limit)

    def _unsettled(self, last: int) -> int:
        return self._settling.before(last)

    async def _consume(self, quota: int) -> None:
        self._former, self._quota = self._last, quota
        await self.channel.basic_qos(prefetch_count=quota, timeout=PATIENCE)
        answer = await self.channel.basic_consume(self._queue, _nothing, no_ack=not self._acknowledge, timeout=ANSWER)
        self._tag = answer.consumer_tag

    def _take(self, arrived: Arrived) -> None:
        self._last = arrived.tag
        try:
            self._receive(Incoming(arrived, self._settling if self._acknowledge else None))
        except Exception:  # noqa: BLE001 - the connection must not end over one message
            _log.exception("a delivery could not be taken", queue=self._queue)

    def _settled(self) -> None:
        if self._left and self._leaving is None and not self._settling.open:
            self._leaving = asyncio.create_task(self.drop())
        elif not self._left and (self._former or self._tag is None):
            self._changed()


async def _nothing(_message: DeliveredMessage) -> None:
    """Take what the library delivers: nothing, as the sorter is before it."""
