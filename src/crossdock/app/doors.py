"""What clients come in by: the HTTP application with every protocol that speaks HTTP."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from crossdock.config import Config, Key, listen_address
from crossdock.core.broker import Broker
from crossdock.http.auth import ApiKey, Authenticator, Scope
from crossdock.http.connection import Limits
from crossdock.http.egress import Egress
from crossdock.http.loopback import is_loopback
from crossdock.http.server import ServerOptions
from crossdock.protocols.longpost import LongpostOptions
from crossdock.protocols.longpost import routes as longpost_routes
from crossdock.protocols.ogc.callbacks import Callbacks
from crossdock.protocols.ogc.frontend.application import create_app
from crossdock.protocols.ogc.frontend.door import OgcOptions
from crossdock.protocols.ogc.metrics import Incidents


def http_application(config: Config, broker: Broker, beside: Sequence[BaseRoute], incidents: Incidents) -> ASGIApp:
    """Return the application: OGC at the root, LONGPOST and the routes ``beside`` it, and metrics of all doors.

    Raises:
        CrossdockError: ``invalid`` if an API key is there twice.
    """
    authenticator = _authenticator(config)
    longpost = longpost_routes(
        broker.intake, broker.records, broker.artifacts, broker.clock, broker.kinds, _longpost(config), authenticator
    )
    return create_app(broker, _ogc(config), authenticator, [*longpost, *beside], incidents)


def server_options(config: Config) -> ServerOptions:
    """Return where and how the HTTP server listens."""
    http = config.http
    host, port = listen_address(http.listen)
    return ServerOptions(
        host=host,
        port=port,
        certificate=Path(http.certificate) if http.certificate else None,
        private_key=Path(http.private_key) if http.private_key else None,
        limits=Limits(
            header_seconds=http.header_timeout,
            header_bytes=http.header_bytes,
            idle_seconds=http.keep_alive,
            connections=http.connections,
            loopback_connections=http.loopback_connections,
        ),
        stop_seconds=http.stop_timeout,
    )


def _authenticator(config: Config) -> Authenticator:
    keys = [_key(key) for key in config.security.keys]
    host, _ = listen_address(config.http.listen)
    if not keys and not is_loopback(host):
        # Somebody opened LONGPOST to the world, not the rest: that now needs a key, and nobody has this one.
        keys = [ApiKey(name="nobody", sha256=secrets.token_hex(32), scopes=frozenset())]
    return Authenticator(keys)


def _key(key: Key) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    return ApiKey(name=key.name, sha256=key.sha256, scopes=scopes, tenant=key.tenant or key.name)


def _longpost(config: Config) -> LongpostOptions:
    table = config.longpost
    return LongpostOptions(
        chunk=table.chunk,
        result_ttl=table.result_ttl,
        cargo_ttl=table.cargo_ttl,
        grace=table.grace,
        public=table.public,
        origins=table.origins,
        max_body=config.http.max_body,
        misses_per_minute=table.misses_per_minute,
        breaker=table.breaker,
    )


def _ogc(config: Config) -> OgcOptions:
    return OgcOptions(
        base_url=config.http.base_url,
        body_limit=config.http.max_body,
        artifact_limit=config.http.max_artifact,
        sync_seconds=config.http.sync_timeout,
        allow_urls=config.security.allow_urls,
    )


async def deliver_callbacks(config: Config, broker: Broker) -> None:
    """Deliver what the outbox owes to URLs, until cancelled."""
    # Without keys only this machine's users submit jobs; they can reach everything that we can anyway.
    egress = Egress(config.security.allow_urls, private=not config.security.keys)
    await Callbacks(broker, egress, config.http.base_url).run()
