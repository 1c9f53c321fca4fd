"""Looks at a RabbitMQ broker for ``crossdock doctor``, without changing anything on it."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from aiormq import Connection
from aiormq.exceptions import AMQPError
from msgspec import Struct

from crossdock.core.errors import CrossdockError
from crossdock.protocols.jsonbus.complaints import explain
from crossdock.protocols.jsonbus.declaring import Declarations, NotDeclared, ask, message_count
from crossdock.protocols.jsonbus.link import ConnectionOptions, Link
from crossdock.protocols.jsonbus.topology import Exchange, Part, Queue

_GOODBYE: Final = 5.0


class Finding(Struct, frozen=True):
    """What was looked at, whether it is well, and what there is to say about it."""

    name: str
    ok: bool
    text: str


async def inspect(options: ConnectionOptions, parts: Iterable[Part]) -> list[Finding]:
    """Return what is to be said about a broker: the connection, and each exchange and queue.

    What is not there yet is not declared, so that permissions are only seen where something is.

    Args:
        options: where it is.
        parts: what has to be there.
    """
    declarations = Declarations()
    declarations.add(parts)
    findings: list[Finding] = []

    async def look(connection: Connection) -> None:
        findings.append(Finding("connection", ok=True, text=_greeting(connection, link)))
        named = [part for part in declarations.parts if isinstance(part, Exchange | Queue)]
        findings.extend([await _look_at(connection, part, link) for part in named])

    link = Link(options, "looks around", Declarations(), look, lambda: None)
    try:
        await link.start(wait=False)
    except CrossdockError as error:
        findings.append(Finding("connection", ok=False, text=error.message))
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(link.close(), _GOODBYE)
    return findings


async def _look_at(connection: Connection, part: Exchange | Queue, link: Link) -> Finding:
    name = f"{'exchange' if isinstance(part, Exchange) else 'queue'} {part.name}"
    try:
        if not await ask(connection, part):
            return Finding(name, ok=True, text="not there yet: it is declared at the start")
        # To declare what is there changes nothing, and tells whether it fits.
        only = Declarations()
        only.add([part])
        for refused in await only.ensure(connection):
            return Finding(name, ok=False, text=_meaning(refused, link, part))
        return _filled(name, part, await message_count(connection, part)) if isinstance(part, Queue) else _fine(name)
    except AMQPError as error:
        return Finding(name, ok=False, text=_meaning(error, link, part))


def _filled(name: str, part: Queue, count: int) -> Finding:
    if part.name.endswith(".dead") and count:
        return Finding(name, ok=False, text=f"{count} messages could not be handled: look at them, then purge the queue")
    return Finding(name, ok=True, text=f"there, as it should be; {count} messages wait")


def _fine(name: str) -> Finding:
    return Finding(name, ok=True, text="there, as it should be")


def _meaning(error: NotDeclared | AMQPError, link: Link, part: Part) -> str:
    return explain(error, link.broker, [part], "").error.message


def _greeting(connection: Connection, link: Link) -> str:
    server: Any = connection.server_properties
    return f"{server.get('product')} {server.get('version')} at {link.broker.address}, virtual host {link.broker.vhost}"
