"""What ``crossdock doctor`` says about the RabbitMQ of the table ``[jsonbus]``."""

import asyncio
from collections.abc import Iterator

from crossdock.app.findings import Finding, Health
from crossdock.app.jsonbus import asking_options, backend_options, connection_options, node_options
from crossdock.config import Config, Jsonbus
from crossdock.protocols.jsonbus.backend import backend_parts
from crossdock.protocols.jsonbus.complaints import broker
from crossdock.protocols.jsonbus.frontend import node_parts
from crossdock.protocols.jsonbus.inspection import inspect
from crossdock.protocols.jsonbus.link import connection_url
from crossdock.protocols.jsonbus.node_runner import ask_parts
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.policies import policies
from crossdock.protocols.jsonbus.topology import Part


def bus_findings(config: Config, table: Jsonbus) -> Iterator[Finding]:
    """Look at RabbitMQ without changing anything, and tell which policies its operator should set."""
    broken = False
    for found in asyncio.run(inspect(connection_options(table), _parts(config, table))):
        broken = broken or not found.ok
        health = Health.OK if found.ok else Health.WARNING if found.name.endswith(".dead") else Health.FAILED
        yield Finding(f"json-bus {found.name}", health, found.text)
    if not broken:
        vhost = broker(connection_url(connection_options(table), "")).vhost
        lines = policies(node_options(table), _backends(config), vhost=vhost)
        yield Finding("json-bus policies", Health.OK, "\n        ".join(("to be set once, by an operator:", *lines)))


def _parts(config: Config, table: Jsonbus) -> list[Part]:
    """Return what has to be there for all that the configuration opens."""
    parts = [*node_parts(node_options(table)), *ask_parts(asking_options(table))]
    for backend in _backends(config):
        parts += backend_parts(backend)
    return parts


def _backends(config: Config) -> list[BackendOptions]:
    return [backend_options(name, table) for name, table in config.backends.jsonbus.items()]
