"""Declares exchanges, queues and bindings on a connection; what goes wrong is told by part."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, cast

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelClosed, ChannelLockedResource, ChannelNotFoundEntity

from crossdock.protocols.jsonbus.topology import Exchange, Part, Queue

PATIENCE: Final = 30.0
"""Seconds that RabbitMQ has to answer one question."""


class NotDeclared(Exception):
    """RabbitMQ refused a part; the cause says why."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.part = part


class Declarations:
    """What has to be there, and how much of it was declared on the present connection."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._done: list[Part] = []
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()

    def add(self, parts: Iterable[Part]) -> None:
        """Have these as well."""
        for part in parts:
            if part not in self.parts:
                self.parts.append(part)

    def auto_delete(self, queue: str) -> bool:
        """Return whether a queue vanishes with its last consumer."""
        return any(isinstance(part, Queue) and part.name == queue and part.auto_delete for part in self.parts)

    def complete(self, connection: AbstractConnection) -> bool:
        """Return whether all was declared on a connection."""
        return self._connection is connection and len(self._done) == len(self.parts)

    def forget(self) -> None:
        """Have everything declared again: something has vanished."""
        self._done = []

    async def ensure(self, connection: AbstractConnection) -> list[NotDeclared]:
        """Declare what was not yet declared on this connection, and return what was refused.

        One part that does not fit is no reason to go without all the others.

        Raises:
            AMQPError: the connection is lost.
        """
        refused: list[NotDeclared] = []
        async with self._lock:
            if self._connection is not connection:
                self._connection, self._done = connection, []
            done = self._done
            channel: AbstractChannel | None = None
            while len(done) < len(self.parts):
                if channel is None or channel.is_closed:
                    channel = await connection.channel(publisher_confirms=False, timeout=PATIENCE)
                part = self.parts[len(done)]
                try:
                    await _declare(channel, part)
                except ChannelClosed as error:
                    failure = NotDeclared(part)
                    failure.__cause__ = error
                    refused.append(failure)
                done.append(part)
            if channel is not None:
                await channel.close()
        return refused


async def ask(connection: AbstractConnection, part: Exchange | Queue) -> bool:
    """Return whether there is an exchange or queue of this name, without changing anything.

    Raises:
        AMQPError: the connection is lost, or we may not ask.
    """
    channel = await connection.channel(publisher_confirms=False, timeout=PATIENCE)
    try:
        if isinstance(part, Queue):
            await channel.queue_declare(part.name, passive=True, timeout=PATIENCE)
        else:
            await channel.exchange_declare(part.name, passive=True, timeout=PATIENCE)
    except ChannelNotFoundEntity:
        return False
    except ChannelLockedResource:
        return True
    finally:
        await channel.close()
    return True


async def message_count(connection: AbstractConnection, queue: Queue) -> int:
    """Return how many messages wait in a queue that is there."""
    channel = await connection.channel(publisher_confirms=False, timeout=PATIENCE)
    try:
        answer = await channel.queue_declare(queue.name, passive=True, timeout=PATIENCE)
        return answer.message_count or 0
    finally:
        await channel.close()


async def _declare(channel: AbstractChannel, part: Part) -> None:
    if isinstance(part, Exchange):
        await channel.exchange_declare(
            part.name, exchange_type=part.kind, durable=True, auto_delete=part.auto_delete, timeout=PATIENCE
        )
    elif isinstance(part, Queue):
        arguments = cast("Any", dict(part.arguments))
        await channel.queue_declare(
            part.name,
            passive=part.passive,
            durable=True,
            auto_delete=part.auto_delete,
            arguments=arguments,
            timeout=PATIENCE,
        )
    else:
        await channel.queue_bind(part.queue, part.exchange, part.key, timeout=PATIENCE)
