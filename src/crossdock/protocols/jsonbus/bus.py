"""What the rest of this folder needs of RabbitMQ, as ports; ``connection.py`` implements them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.topology import BUS, Part

Headers = Mapping[str, str | int | float | bool | None]


class Letter(Struct, frozen=True, gc=False, kw_only=True):
    """A message on its way out. It is published persistent, mandatory and as UTF-8 JSON, and confirmed.

    ``kind`` is the type of message, ``id`` its own, the same when it is sent again. ``headers`` are AMQP headers.
    """

    body: bytes
    key: str
    kind: str
    id: str
    correlation: str = ""
    exchange: str = BUS
    headers: Headers = {}


class Unroutable(Exception):
    """No queue is bound under the letter's key, or its exchange is gone: nobody has got it."""


class QueueFull(CrossdockError):
    """RabbitMQ did not take a letter, because of its queue and not of the connection; others still get theirs."""

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, "RabbitMQ could not take a message: a queue of it is full or gone")


class Delivery(Protocol):
    """A message that came in. It has to be settled once, apart from those of consumers without acknowledgement."""

    body: bytes
    key: str
    redelivered: bool
    headers: Mapping[str, object]
    id: str
    """The property message_id, empty if it is missing; so are the next two."""
    correlation: str
    reply_to: str

    def accept(self) -> None:
        """Acknowledge it. If the connection is lost on the way it comes again."""
        ...

    def reject(self, *, requeue: bool) -> None:
        """Give it back to be delivered again, or make a dead letter of it."""
        ...


Receive = Callable[[Delivery], None]
"""Takes a delivery; must not block and not raise. It may start a task."""


class Consumer(Protocol):
    """A subscription. It survives reconnections."""

    def limit(self, prefetch: int) -> None:
        """Have at most this many unsettled deliveries from now on; 0 pauses."""
        ...

    async def close(self) -> None:
        """Take nothing more; deliveries that came can still be settled."""
        ...


class Bus(Protocol):
    """A RabbitMQ broker that may go away and come back.

    One state machine, two connections: one for what we publish, which RabbitMQ may block, one for what we consume.
    """

    def require(self, parts: Iterable[Part]) -> None:
        """Declare these at every connection, before anything is consumed; at once if there is a connection."""
        ...

    async def publish(self, letter: Letter) -> None:
        """Publish a letter and wait for the confirm.

        Raises:
            Unroutable: RabbitMQ returned it.
            QueueFull: a queue of it refused it.
            CrossdockError: ``unavailable`` if the connection is away or was lost before the confirm (then the letter may
                or may not have arrived), or if RabbitMQ blocks it for too long; ``too_large`` for more than it takes;
                ``unauthorized`` if we may not publish to the exchange.
        """
        ...

    def consume(self, queue: str, receive: Receive, *, prefetch: int, acknowledge: bool = True) -> Consumer:
        """Subscribe to a queue that is required; deliveries begin when there is a connection."""
        ...

    async def exists(self, queue: str) -> bool:
        """Tell whether there is a queue of this name, whoever declared it.

        Raises:
            CrossdockError: ``unavailable`` if the connection is away.
        """
        ...

    def on_connect(self, call: Callable[[], None]) -> None:
        """Have this called after every connection, once all that is required is there and consumers are subscribed.

        The first connection counts too if it is still to come. What is called must not block and not raise.
        """
        ...
