"""The channel that letters go out through, and their confirms."""

import asyncio
import time
from typing import Any, Final, cast

from aiormq import Channel, Connection
from aiormq.exceptions import AMQPConnectionError, ChannelClosed

from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.frames import publishing
from crossdock.protocols.jsonbus.transport import GatheringWriter

_MUCH: Final = 4 * 2**20
"""Bytes that may wait for the socket before a letter waits."""


class Outlet:
    """Writes letters to the socket in one step each, so that confirms can be counted, and waits for these.

    Args:
        channel: open, with confirms, and used by nothing else.
        writer: the socket of its connection.
    """

    def __init__(self, channel: Channel, writer: GatheringWriter) -> None:
        self._channel = channel
        self._writer = writer
        self._frame_max = cast("Any", channel.connection).connection_tune.frame_max
        self._waiting: set[asyncio.Future[Any]] = set()
        self._confirms = cast("dict[int, asyncio.Future[Any]]", cast("Any", channel).confirmations)
        self._loop = asyncio.get_running_loop()
        closing = cast("asyncio.Future[None]", channel.closing)  # pyright: ignore[reportUnknownMemberType]
        closing.add_done_callback(self._closed)

    def usable(self, connection: Connection) -> bool:
        """Return whether the channel is open, and one of this connection."""
        return not self._channel.is_closed and self._channel.connection is connection

    async def send(self, letter: Letter) -> None:
        """Publish a letter and wait for the confirm. Raises what the library raises; the id must not be under way."""
        if self._writer.waiting > _MUCH:
            await self._writer.drain()
        frames = publishing(letter, self._channel.number, self._frame_max, time.time())
        if self._channel.is_closed:
            raise AMQPConnectionError("the channel was closed")
        # The library sorts confirms and what came back into these; nothing may come between the number and the bytes.
        confirm: asyncio.Future[Any] = self._loop.create_future()
        self._channel.delivery_tag += 1
        number = self._channel.delivery_tag
        self._confirms[number] = confirm
        self._channel.message_id_delivery_tag[letter.id] = number
        self._waiting.add(confirm)
        self._writer.write(frames)
        try:
            await confirm
        finally:
            self._waiting.discard(confirm)
            self._channel.message_id_delivery_tag.pop(letter.id, None)

    def _closed(self, closing: asyncio.Future[None]) -> None:
        reason = None if closing.cancelled() else closing.exception()
        for confirm in self._waiting:
            if not confirm.done():
                # Each its own: whoever raises it adds to its traceback.
                known = isinstance(reason, ChannelClosed)
                confirm.set_exception(type(reason)(*reason.args) if known else AMQPConnectionError("it was lost"))
