"""Subscriptions that outlive their channels: each has a channel of its own, so an error of one is no error of another."""

import asyncio
from typing import Any, Final, cast

import structlog
from aiormq import Channel, Connection
from aiormq.exceptions import ChannelNotFoundEntity

from crossdock.protocols.jsonbus.bus import Receive
from crossdock.protocols.jsonbus.channel_consumer import ChannelConsumer
from crossdock.protocols.jsonbus.complaints import FAILURES, explain
from crossdock.protocols.jsonbus.declaring import PATIENCE
from crossdock.protocols.jsonbus.link import Link

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")
_AGAIN: Final = 0.25
_AGAIN_MOST: Final = 15.0
"""Seconds until a subscription that failed is tried again, at first and at most."""
_CHECK: Final = 30.0
"""Seconds between two questions whether anybody consumes a queue that was deleted behind our back."""
_LOOK: Final = 0.1
"""Seconds from a settlement until we look whether the limit allows more."""


class Subscription:
    """A consumer; see the port. A queue that vanishes with its last consumer always keeps one, with a limit of 1.

    Args:
        link: the connection.
        queue: what is consumed.
        receive: takes the deliveries.
        prefetch: how many may be unsettled.
        acknowledge: whether they are settled at all.
    """

    def __init__(self, link: Link, queue: str, receive: Receive, prefetch: int, *, acknowledge: bool) -> None:
        self.queue = queue
        self.closed = False
        self._link = link
        self._receive = receive
        self._limit = prefetch
        self._acknowledge = acknowledge
        self._consumer: ChannelConsumer | None = None
        self._doubt = False
        self._renew = False
        self._pause = _AGAIN
        self._changed = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._dropping: set[asyncio.Task[None]] = set()

    def limit(self, prefetch: int) -> None:
        """Have at most so many unsettled deliveries."""
        if prefetch < self._limit and self._consumer is not None:
            self._consumer.hold()
        self._limit = prefetch
        self.look()

    def look(self) -> None:
        """Look soon whether the consumer is as it should be."""
        self._changed.set()
        # The library also cancels those who wait for an answer on a channel that closes.
        if (self._task is None or self._task.done()) and not self.closed:
            self._task = asyncio.create_task(self._tend())

    def renew(self) -> None:
        """Subscribe anew. If somebody declares a deleted queue again, RabbitMQ does not tell that it ended its consumers."""
        self._renew = True
        self.look()

    async def attach(self, connection: Connection, *, starting: bool) -> None:
        """Subscribe on a new connection. When starting it raises what the library raises, else it goes on trying."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()  # it may wait for an answer on the former connection
            await asyncio.gather(task, return_exceptions=True)
        try:
            async with self._lock:
                await self._adjust(connection)
        except FAILURES as error:
            if starting or connection.is_closed:
                raise
            self._fail(error)
        self.look()

    async def close(self) -> None:
        """Take nothing more."""
        self.closed = True
        self._changed.set()
        if self._looking is not None:
            self._looking.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.leave()

    async def _tend(self) -> None:
        while not self.closed:
            try:
                async with asyncio.timeout(_CHECK):
                    await self._changed.wait()
            except TimeoutError:
                self._doubt = True
            self._changed.clear()
            if self.closed or not self._link.session.usable:
                continue  # the link attaches us
            try:
                async with self._lock:
                    await self._adjust(self._link.connection)
                self._pause = _AGAIN
            except FAILURES as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            # A channel that waits for an answer is no good for other questions.
            task = asyncio.create_task(consumer.drop())
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)
        if isinstance(error, ChannelNotFoundEntity):
            self._link.declarations.forget()
        complaint = explain(error, self._link.broker, self._link.declarations.parts, "").error
        _log.warning("cannot consume", queue=self.queue, why=complaint.message, again=self._pause)
        self._look_in(self._pause)
        self._pause = min(_AGAIN_MOST, 2 * self._pause)

    async def _adjust(self, connection: Connection) -> None:
        """Have the consumer that there should be, on a channel that is open."""
        consumer = self._consumer
        if consumer is not None and consumer.ended:
            consumer.ended = False
            self._link.declarations.forget()
            _log.warning("RabbitMQ ended a consumer", queue=self.queue)
        for refused in await self._link.declarations.ensure(connection):
            self._link.complain(refused)
        if consumer is None or not consumer.usable(connection):
            consumer = self._consumer = await self._new_consumer(connection)
        keep = self._link.declarations.auto_delete(self.queue)
        renew, self._renew = self._renew, False
        doubt, self._doubt = self._doubt, False
        await consumer.adjust(max(self._limit, int(keep)), keep=keep, renew=renew, doubt=doubt)

    async def _new_consumer(self, connection: Connection) -> ChannelConsumer:
        sorter = self._link.transport.sorter
        channel = cast("Channel", await connection.channel(publisher_confirms=False, timeout=PATIENCE))
        consumer = ChannelConsumer(
            channel, sorter, self.queue, self._receive, self._look_later, acknowledge=self._acknowledge
        )
        channel.on_consumer_cancel_callbacks.add(consumer.cancelled)
        closing = cast("asyncio.Future[None]", channel.closing)  # pyright: ignore[reportUnknownMemberType]
        closing.add_done_callback(lambda _: self._look_later())
        return consumer

    def _look_later(self) -> None:
        self._look_in(_LOOK)

    def _look_in(self, seconds: float) -> None:
        """Look once, be it asked for many times."""
        if self._looking is None and not self.closed:
            self._looking = asyncio.get_running_loop().call_later(seconds, self._look_now)

    def _look_now(self) -> None:
        self._looking = None
        self.look()
