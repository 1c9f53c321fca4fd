"""RabbitMQ as the port ``Bus``: two connections, what is declared, what is published and what is consumed."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiormq import Connection as Wire
from aiormq.exceptions import AMQPError

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter, Receive
from crossdock.protocols.jsonbus.complaints import FAILURES
from crossdock.protocols.jsonbus.connection_session import State
from crossdock.protocols.jsonbus.consuming import Subscription
from crossdock.protocols.jsonbus.declaring import Declarations, ask
from crossdock.protocols.jsonbus.link import ConnectionOptions, Link
from crossdock.protocols.jsonbus.publishing import Publisher
from crossdock.protocols.jsonbus.topology import Part, Queue

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")


class Connection:
    """A RabbitMQ broker that may go away and come back; see :class:`Bus`.

    What is required and consumed before :meth:`start` is there when that returns.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self._calls: list[Callable[[], None]] = []
        self._subscriptions: list[Subscription] = []
        self._consuming = Link(options, "consumes", Declarations(), self._attach, self._ready)
        self._publishing = Link(options, "publishes", Declarations(), _nothing, self._ready)
        self._publisher = Publisher(self._publishing, options.patience, self._renew)
        self._catching_up: asyncio.Task[None] | None = None

    @property
    def states(self) -> tuple[State, State]:
        """Return where the publishing and the consuming connection stand."""
        return self._publishing.session.state, self._consuming.session.state

    async def start(self, *, wait: bool = False) -> None:
        """Connect, declare, and consume.

        Args:
            wait: whether a broker that cannot be reached is waited for, in the background.

        Raises:
            CrossdockError: it cannot be reached, and is not waited for; or only people can mend it: a wrong password, a
                missing permission, a queue that does not fit.
        """
        try:
            await self._consuming.start(wait=wait)
            await self._publishing.start(wait=wait)
        except CrossdockError:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up. What is not acknowledged comes again, to us or to others."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        for subscription in list(self._subscriptions):
            await subscription.close()
        await self._publishing.close()
        await self._consuming.close()

    def require(self, parts: Iterable[Part]) -> None:
        """Declare these at every connection."""
        parts = list(parts)
        for link in (self._consuming, self._publishing):
            link.declarations.add(parts)
        if self._consuming.session.usable and self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def publish(self, letter: Letter) -> None:
        """Publish a letter and wait for the confirm."""
        await self._publisher.publish(letter)

    def consume(self, queue: str, receive: Receive, *, prefetch: int, acknowledge: bool = True) -> Subscription:
        """Subscribe to a queue."""
        self._subscriptions = [one for one in self._subscriptions if not one.closed]
        subscription = Subscription(self._consuming, queue, receive, prefetch, acknowledge=acknowledge)
        self._subscriptions.append(subscription)
        if self._consuming.session.usable:
            subscription.look()
        return subscription

    async def exists(self, queue: str) -> bool:
        """Tell whether there is a queue of this name."""
        connection = self._consuming.connection
        try:
            return await ask(connection, Queue(name=queue))
        except (AMQPError, RuntimeError, OSError) as error:
            raise CrossdockError(
                Code.UNAVAILABLE, f"RabbitMQ did not say whether there is a queue {queue}: {error}"
            ) from None

    def on_connect(self, call: Callable[[], None]) -> None:
        """Have this called after every connection."""
        self._calls.append(call)

    def _ready(self) -> None:
        if self._consuming.session.usable and self._publishing.session.usable:
            for call in self._calls:
                call()

    async def _attach(self, wire: Wire) -> None:
        for subscription in list(self._subscriptions):
            await subscription.attach(wire, starting=self._consuming.session.starting)

    def _renew(self) -> None:
        self._consuming.declarations.forget()
        for subscription in self._subscriptions:
            subscription.renew()

    async def _catch_up(self) -> None:
        """Declare what came to be required while there is a connection; the other link does it before it publishes."""
        declarations = self._consuming.declarations
        try:
            while not declarations.complete(wire := self._consuming.connection):
                for refused in await declarations.ensure(wire):
                    self._consuming.complain(refused)
        except FAILURES:
            _log.debug("the connection broke while parts were declared; the next one has them all")
        finally:
            self._catching_up = None


async def _nothing(_wire: Wire) -> None:
    """Put nothing back: what publishes opens its channel when it needs it."""
