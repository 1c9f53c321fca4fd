"""The address of a jobs queue, with how its jobs are to be taken."""

from typing import Final

from msgspec import Struct

from crossdock.protocols.jsonbus.address import Address, read_address
from crossdock.protocols.jsonbus.names import jobs_key, results_key

ACK_AFTER: Final = 900.0
"""Seconds, half of RabbitMQ's own limit for deliveries that nobody acknowledges."""
LARGEST: Final = 15 * 2**20
"""Bytes of a result; RabbitMQ takes 16 MiB since 4.0."""
_DAY: Final = 86400.0
_KNOWN: Final = ("ack_after", "ahead", "ca", "jobs", "kind", "largest", "lists", "node", "results", "slots")


class WorkerAddress(Struct, frozen=True, kw_only=True):
    """Where jobs come from, and where results go.

    ``node`` names our own jobs queue, ``jobs`` that of the PHP library if there is none, ``results`` is a routing key.
    Every job is of ``kind``, unless that is empty. A job that runs longer than ``ack_after`` seconds is acknowledged then.
    ``ahead`` is how many jobs may come here before there is a slot for them. ``largest`` is the greatest result in bytes.
    ``lists``: objects with the names 0, 1, 2 … become lists again. ``ca`` is a PEM file of who may sign the broker's
    certificate, ``shown`` is the address without the password.
    """

    url: str
    shown: str
    node: str
    jobs: str
    results: str
    kind: str = ""
    ack_after: float = ACK_AFTER
    ahead: int = 0
    largest: int = LARGEST
    lists: bool = False
    slots: int | None = None
    ca: str = ""


def parse_connect(url: str) -> WorkerAddress:
    """Return what ``jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME`` names; ``jsonbus+amqps`` is for TLS.

    More parameters: ``kind``, ``slots``, ``ahead``, ``ack_after`` (seconds), ``largest`` (bytes), ``lists=yes``, ``ca``,
    and ``jobs`` and ``results`` if the queue of jobs and the routing key of results are not ``NAME_jobs`` and
    ``NAME_results``.

    Raises:
        CrossdockError: ``invalid``; the text says what is wrong with it.
    """
    address = read_address(url, _KNOWN)
    node = address.text("node", "crossdock")
    return WorkerAddress(
        url=address.url,
        shown=address.shown,
        node=node,
        jobs=address.text("jobs", jobs_key(node)),
        results=address.text("results", results_key(node)),
        kind=address.text("kind"),
        ack_after=address.number("ack_after", ACK_AFTER, 1, _DAY),
        ahead=int(address.number("ahead", 0, 0, 10_000)),
        largest=int(address.number("largest", LARGEST, 1024, 2**30)),
        lists=address.flag("lists"),
        slots=_slots(address),
        ca=address.text("ca"),
    )


def _slots(address: Address) -> int | None:
    return int(address.number("slots", 1, 1, 10_000)) if "slots" in address.given else None
