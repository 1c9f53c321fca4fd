"""Subscriptions that outlive their channels: each has a channel of its own, so an error of one is no error of another."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from aiormq import Channel, Connection
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity

from crossdock.core.errors import CrossdockError
from crossdock.protocols.jsonbus.bus import Receive
from crossdock.protocols.jsonbus.complaints import explain
from crossdock.protocols.jsonbus.declaring import PATIENCE
from crossdock.protocols.jsonbus.link import Link
from crossdock.protocols.jsonbus.settling import Incoming, Settling

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")
_AGAIN: Final = 0.25
_AGAIN_MOST: Final = 15.0
"""Seconds until a subscription that failed is tried again, at first and at most."""
_FAILURES: Final = (AMQPError, RuntimeError, OSError, CrossdockError)
"""What the library raises; a TimeoutError is an OSError."""
_ANSWER: Final = 4.0
"""Seconds until RabbitMQ has to answer about a consumer: one of a quorum queue that elects its leader never does."""
_EXACT: Final = 16
"""The largest limit that is met exactly."""
_CHECK: Final = 30.0
"""Seconds between two questions whether anybody consumes a queue that was deleted behind our back."""
_LOOK: Final = 0.1
"""Seconds from a settlement until we look whether the limit allows more."""


class Subscription:
    """A consumer; see the port.

    RabbitMQ knows no change of a consumer's limit: it is ended and another one takes its place. Deliveries of the former
    one that are not settled count against the limit. A queue that vanishes with its last consumer always keeps one.

    Args:
        link: the connection.
        queue: what is consumed.
        receive: takes the deliveries.
        prefetch: how many may be unsettled.
        acknowledge: whether they are settled at all.
    """

    def __init__(self, link: Link, queue: str, receive: Receive, prefetch: int, *, acknowledge: bool) -> None:
        self.queue = queue
        self._link = link
        self._receive = receive
        self._limit = prefetch
        self._acknowledge = acknowledge
        self._channel: Channel | None = None
        self._settling: Settling | None = None
        self._tag: str | None = None
        self._quota = 0
        self._former = 0
        """The last delivery of the consumers before this one."""
        self._last = 0
        self._closed = False
        self._looking = False
        self._doubt = False
        """Whether RabbitMQ is to be asked if anybody consumes the queue."""
        self._renew = False
        self._pause = _AGAIN
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return self._closed

    def limit(self, prefetch: int) -> None:
        """Have at most so many unsettled deliveries."""
        self._limit = prefetch
        self.look()

    def renew(self) -> None:
        """Subscribe anew: somebody else declared the queue again, and then RabbitMQ tells nobody that the old one is gone."""
        self._renew = True
        self.look()

    def look(self) -> None:
        """Look soon whether the consumer is as it should be."""
        self._changed.set()
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._tend())

    async def attach(self, connection: Connection, *, starting: bool) -> None:
        """Subscribe on a new connection. When starting it raises what the library raises, else it goes on trying."""
        await self._stop_tending()  # it may wait for an answer on the former connection
        try:
            async with self._lock:
                await self._adjust(connection)
        except _FAILURES as error:
            if starting or connection.is_closed:
                raise
            self._fail(error)

    async def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        await self._stop_tending()
        async with self._lock:
            if self._channel is not None and self._tag is not None:
                with suppress(AMQPError, RuntimeError, OSError, TimeoutError):
                    await self._channel.basic_cancel(self._tag, timeout=PATIENCE)
            self._tag = None
        await self._leave()

    async def _stop_tending(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tend(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_CHECK):
                    await self._changed.wait()
            except TimeoutError:
                self._doubt = True
            self._changed.clear()
            if not self._link.session.usable:
                continue  # the link attaches us
            try:
                async with self._lock:
                    await self._adjust(self._link.connection)
                self._pause = _AGAIN
            except _FAILURES as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        # A channel that waits for an answer is no good for other questions.
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            self._leaving = asyncio.create_task(_drop(channel))
        if isinstance(error, ChannelNotFoundEntity):
            self._link.declarations.forget()
        complaint = explain(error, self._link.broker, self._link.declarations.parts, "").error
        _log.warning("cannot consume", queue=self.queue, why=complaint.message, again=self._pause)
        asyncio.get_running_loop().call_later(self._pause, self._look_again)
        self._pause = min(_AGAIN_MOST, 2 * self._pause)

    async def _adjust(self, connection: Connection) -> None:
        """Have the consumer that there should be."""
        channel = await self._own_channel(connection)
        keep = self._link.declarations.auto_delete(self.queue)
        limit = max(self._limit, int(keep))
        if self._doubt and self._tag is not None:
            answer = await channel.queue_declare(self.queue, passive=True, timeout=_ANSWER)
            self._renew = self._renew or not answer.consumer_count
        self._doubt = False
        if not self._renew and self._fits(limit):
            return
        self._renew = False
        before, self._tag = self._tag, None
        if before is not None and not keep:
            await channel.basic_cancel(before, timeout=PATIENCE)
        free = limit - self._unsettled(self._last)
        if free > 0 or keep:
            await self._consume(channel, max(1, free))
        if before is not None and keep:
            await channel.basic_cancel(before, timeout=PATIENCE)

    def _fits(self, limit: int) -> bool:
        """Return whether what may be unsettled is near enough to the limit, below it.

        Under load there is always something of former consumers open, so that large limits would never be met.
        """
        if self._settling is None:
            return (self._tag is not None) == (limit > 0)
        may = self._unsettled(self._former) + (self._quota if self._tag is not None else 0)
        if self._tag is None:
            return may >= limit
        return may == limit or (limit > _EXACT and limit <= 2 * may <= 2 * limit)

    def _unsettled(self, last: int) -> int:
        return 0 if self._settling is None else self._settling.before(last)

    async def _own_channel(self, connection: Connection) -> Channel:
        """Return our channel, or a new one if that is gone."""
        for refused in await self._link.declarations.ensure(connection):
            self._link.complain(refused)
        channel = self._channel
        if channel is not None and not channel.is_closed and channel.connection is connection:
            return channel
        channel = cast("Channel", await connection.channel(publisher_confirms=False, timeout=PATIENCE))
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        closing = cast("asyncio.Future[None]", channel.closing)  # pyright: ignore[reportUnknownMemberType]
        closing.add_done_callback(self._channel_closed)
        self._settling = Settling(channel, self._settled) if self._acknowledge else None
        self._channel, self._tag, self._quota, self._former, self._last = channel, None, 0, 0, 0
        return channel

    async def _consume(self, channel: Channel, quota: int) -> None:
        self._former, self._quota = self._last, quota
        await channel.basic_qos(prefetch_count=quota, timeout=PATIENCE)
        answer = await channel.basic_consume(
            self.queue, self._receiver(channel), no_ack=not self._acknowledge, timeout=_ANSWER
        )
        self._tag = answer.consumer_tag

    def _receiver(self, channel: Channel) -> Callable[[DeliveredMessage], Any]:
        settling = self._settling

        async def take(message: DeliveredMessage) -> None:
            if channel is self._channel:
                self._last = cast("int", message.delivery_tag)
            self._receive(Incoming(message, settling))

        return take

    def _settled(self) -> None:
        if not self._closed and (self._former or self._tag is None) and not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_LOOK, self._look_again)
        elif self._closed and self._settling is not None and not self._settling.open:
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """Close the channel once nothing on it is open."""
        channel = self._channel
        if channel is None or (self._settling is not None and self._settling.open):
            return
        self._channel = None
        if self._settling is not None:
            await self._settling.flushed()
        await _drop(channel)

    def _cancelled(self, _frame: object) -> None:
        """Take the fact that RabbitMQ ended the consumer: the queue was deleted."""
        self._tag = None
        self._link.declarations.forget()
        _log.warning("RabbitMQ ended a consumer", queue=self.queue)
        self.look()

    def _look_again(self) -> None:
        self._looking = False
        if not self._closed:
            self.look()

    def _channel_closed(self, _closing: object) -> None:
        if not self._closed:
            self.look()


async def _drop(channel: Channel) -> None:
    with suppress(*_FAILURES):
        await channel.close(timeout=_ANSWER)
