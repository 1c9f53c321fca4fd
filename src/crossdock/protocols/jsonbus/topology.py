"""Exchanges, queues and bindings as data, and those that json-bus and we agreed on.

Whatever the PHP library declares too is declared exactly as it does: every difference would be an error to one of us.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

BUS: Final = "jsonbus"
"""The exchange of the PHP library: direct, durable, auto-delete."""
JOBS: Final = "svc.jobs"
"""The exchange of jobs for our own workers."""
DEAD: Final = "svc.dlx"
"""The exchange of what could not be handled."""

Arguments = Mapping[str, str | int | bool]


class Exchange(Struct, frozen=True, gc=False, kw_only=True):
    """An exchange to declare; all of ours are durable."""

    name: str
    kind: str = "direct"
    auto_delete: bool = False


class Queue(Struct, frozen=True, gc=False, kw_only=True):
    """A durable queue to declare; ``passive`` only asks if it is there."""

    name: str
    auto_delete: bool = False
    passive: bool = False
    arguments: Arguments = {}


class Binding(Struct, frozen=True, gc=False, kw_only=True):
    """A queue that gets what is published to an exchange under a key."""

    exchange: str
    queue: str
    key: str


Part = Exchange | Queue | Binding


def bus() -> Exchange:
    """Return the PHP library's exchange."""
    return Exchange(name=BUS, auto_delete=True)


def foreign_queue(name: str) -> tuple[Part, ...]:
    """Return a queue as the PHP library declares it: durable, auto-delete, without arguments, bound under its own name."""
    return bus(), Queue(name=name, auto_delete=True), Binding(exchange=BUS, queue=name, key=name)


def own_queue(name: str, key: str, *, exchange: str = BUS, delivery_limit: int = 10) -> tuple[Part, ...]:
    """Return a queue of ours beside the PHP library's: a quorum queue, so that transient messages become durable.

    Args:
        name: of the queue, ``svc.NODE.…``.
        key: what it is bound under.
        exchange: what it is bound to.
        delivery_limit: deliveries without an acknowledgement after which a message is a dead letter.
    """
    arguments: Arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": delivery_limit,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": name,
    }
    source = bus() if exchange == BUS else Exchange(name=exchange)
    return (
        source,
        *dead_letters(name),
        Queue(name=name, arguments=arguments),
        Binding(exchange=exchange, queue=name, key=key),
    )


def dead_letters(queue: str) -> tuple[Part, ...]:
    """Return where the dead letters of a queue of ours are kept: a quorum queue ``QUEUE.dead``."""
    dead = f"{queue}.dead"
    return (
        Exchange(name=DEAD),
        Queue(name=dead, arguments={"x-queue-type": "quorum"}),
        Binding(exchange=DEAD, queue=dead, key=queue),
    )
