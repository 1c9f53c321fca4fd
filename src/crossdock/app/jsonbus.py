"""The json-bus node inside the server: its connection, the door for requests, the answers, and who works behind the bus."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from starlette.routing import BaseRoute

from crossdock.app.backends import Backend
from crossdock.app.sharing import SharedRunner
from crossdock.app.stopping import Say
from crossdock.config import Config, Jsonbus, JsonbusBackend
from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.http.egress import Egress
from crossdock.http.loopback import is_loopback
from crossdock.protocols.jsonbus.answers import Answers
from crossdock.protocols.jsonbus.backend import JsonbusRunner
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.frontend import Frontend
from crossdock.protocols.jsonbus.kinds import RUNNER
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.names import jobs_key, results_key
from crossdock.protocols.jsonbus.node_runner import NodeRunner
from crossdock.protocols.jsonbus.options import AskOptions, BackendOptions, NodeOptions
from crossdock.protocols.jsonbus.references import References
from crossdock.protocols.jsonbus.schema_routes import routes as schemas

_ASKED: Final = 1000
"""Requests to another node that are waited for at once."""

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")


class Node:
    """What the table ``[jsonbus]`` opens.

    Args:
        config: the configuration.
        table: the table.
        broker: has the jobs.
    """

    def __init__(self, config: Config, table: Jsonbus, broker: Broker) -> None:
        self._config = config
        self._table = table
        self._broker = broker
        options = node_options(table)
        self.bus = Connection(connection_options(table))
        self._counters = Counters(broker.clock.monotonic, _log.warning)
        self._references = References(broker, table.keep, config.http.base_url)
        self._frontend = Frontend(options, broker, self.bus, self._counters)
        self._answers = Answers(options, broker, self.bus, self._references.url, self._counters)

    @property
    def incidents(self) -> Mapping[str, int]:
        """What goes wrong, for the metrics."""
        return self._counters.values

    def routes(self) -> list[BaseRoute]:
        """Return what is served over HTTP: schemas, and results that are too large for a message."""
        return [*schemas(), *self._references.routes()]

    async def start(self, stack: AsyncExitStack, base_url: str, say: Say) -> None:
        """Connect and open the door; the stack closes both.

        Args:
            stack: what ends with the server.
            base_url: our HTTP server as clients see it.
            say: called with a line for people.

        Raises:
            CrossdockError: what only people can mend, such as a wrong password. A RabbitMQ that is away is waited for.
        """
        self._references.base_url = self._references.base_url or base_url
        await self._references.start()
        self._frontend.start()
        stack.push_async_callback(self.bus.close)
        await self.bus.start(wait=True)
        stack.push_async_callback(self._frontend.stop)
        table = self._table
        say(f"json-bus node {table.node} at {_shown(table.url)}, requests under {table.request_key!r}")

    async def answer(self) -> None:
        """Publish the answers that are owed, until cancelled."""
        await self._answers.run()

    def backends(self) -> list[Backend]:
        """Return who works behind the bus: the workers of every backend, and other nodes."""
        broker, counters = self._broker, self._counters
        tables = self._config.backends.jsonbus
        found = [
            Backend(
                name=f"jsonbus/{name}",
                runner=JsonbusRunner(
                    backend_options(name, table), self.bus, broker.records, broker.artifacts, broker.clock, counters=counters
                ),
                kinds=table.kinds or (name,),
                slots=table.slots,
                description=f"json-bus workers {name}",
            )
            for name, table in tables.items()
        ]
        of_backends = {kind for backend in found for kind in backend.kinds}
        nodes = tuple(name for name, kind in broker.kinds.items() if kind.runner == RUNNER and name not in of_backends)
        return [*found, *self._nodes(nodes)] if nodes else found

    def _nodes(self, nodes: tuple[str, ...]) -> list[Backend]:
        """Return a backend for every node: one that does not answer takes no slots from the others."""
        broker = self._broker
        runner = NodeRunner(
            asking_options(self._table),
            self.bus,
            broker.records,
            broker.artifacts,
            broker.clock,
            node_egress(self._config, self._table),
            counters=self._counters,
        )
        shared = SharedRunner(runner)
        return [
            Backend(
                name=f"jsonbus/nodes/{node}",
                runner=shared,
                kinds=(node,),
                slots=_ASKED,
                description=f"json-bus node {node}",
            )
            for node in nodes
        ]


def node_egress(config: Config, table: Jsonbus) -> Egress:
    """Return where large answers of other nodes may be fetched from.

    Whoever reaches the RabbitMQ may name the URLs: private ones are for a bus that only this machine's users reach.
    """
    host = urlsplit(table.url).hostname or ""
    return Egress(config.security.allow_urls, private=not config.security.keys and is_loopback(host))


def connection_options(table: Jsonbus) -> ConnectionOptions:
    """Return how RabbitMQ is reached."""
    return ConnectionOptions(url=table.url, ca=table.ca, name=f"crossdock {table.node}")


def backend_options(name: str, table: JsonbusBackend) -> BackendOptions:
    """Return a backend as its runner takes it."""
    return BackendOptions(
        name=name,
        jobs_key=table.jobs_key or jobs_key(name),
        results_key=table.results_key or results_key(name),
        foreign=table.workers == "foreign",
        message=table.message,
        lease=table.lease,
        slots=table.slots,
        lists=table.lists,
    )


def asking_options(table: Jsonbus) -> AskOptions:
    """Return how other nodes are asked."""
    nodes = table.nodes
    return AskOptions(
        node=table.node,
        keys={name: node.request_key for name, node in nodes.items() if node.request_key},
        subjects={name: node.subject for name, node in nodes.items() if node.subject},
        lists=frozenset(name for name, node in nodes.items() if node.lists),
    )


def node_options(table: Jsonbus) -> NodeOptions:
    """Return the node as its frontend takes it."""
    return NodeOptions(
        node=table.node,
        request_key=table.request_key,
        keep=table.keep,
        inline=table.inline,
        lists=frozenset(table.lists),
        prefetch=table.prefetch,
        delivery_limit=table.delivery_limit,
    )


def _shown(url: str) -> str:
    """Return an AMQP URL without what nobody else may know."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
