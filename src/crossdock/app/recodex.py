"""The ReCodEx installation inside the server: both doors, the monitor, the feed, the notifier and the file server."""

import io
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog

from crossdock.app.stopping import Say
from crossdock.config import Config, Recodex, listen_address
from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.errors import Code, CrossdockError
from crossdock.http.egress import Egress
from crossdock.protocols.recodex.backend import Backend
from crossdock.protocols.recodex.files import FileServer
from crossdock.protocols.recodex.frontend import Frontend
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.monitor import Feed, Monitor, MonitorOptions, resolver
from crossdock.protocols.recodex.notifier import Notifier, NotifierOptions
from crossdock.protocols.recodex.options import Curve, RecodexOptions
from crossdock.runners.program.settings import FileManager
from crossdock.runners.program.transfer import HttpFetcher, TransferError

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Installation:
    """What the table ``[recodex]`` opens.

    Args:
        config: the configuration.
        table: the table.
        broker: has the jobs.
        files: the file server, if there is one; its address is known.
        own: how the file server is reached, if there is one.
    """

    def __init__(
        self, config: Config, table: Recodex, broker: Broker, files: FileServer | None, own: Sequence[FileManager]
    ) -> None:
        self._table = table
        self._fetcher = HttpFetcher(own, config.security.allow_urls)
        self._limit = config.http.max_body
        self.counters = Counters(broker.clock.monotonic, _log.warning)
        self._monitor = _monitor(table, broker)
        self._feed = Feed(table.feed) if table.feed else None
        options, hooks = _options(table), self._hooks(files)
        self._frontend = Frontend(options, broker, hooks, self.counters)
        self._backend = Backend(options, broker, hooks, self.counters)
        egress = Egress((*config.security.allow_urls, *(manager.prefix for manager in own)))
        feed = None if self._feed is None else self._feed.feed
        self._notifier = Notifier(_notifier(table, own), broker.intake, broker.outbox, broker.artifacts, egress, feed)

    def _hooks(self, files: FileServer | None) -> Hooks:
        given: dict[str, Callable[..., object]] = {"fetch": self._fetch}
        if self._monitor is not None:
            given["raw"] = self._monitor.hub.raw
        if self._feed is not None:
            given["feed"] = self._feed.feed
        if files is not None:
            given |= {"publish": files.publish, "collect": files.collect}
        return Hooks(**given)  # type: ignore[arg-type]

    async def start(self, stack: AsyncExitStack, say: Say) -> None:
        """Open every door; the stack closes them.

        Raises:
            CrossdockError: ``unavailable`` if an address cannot be used.
        """
        stack.push_async_callback(self._fetcher.close)
        if self._monitor is not None:
            await self._monitor.start()
            stack.push_async_callback(self._monitor.stop)
        if self._feed is not None:
            self._feed.start()
            stack.callback(self._feed.stop)
        for door in (self._backend, self._frontend):
            await door.start()
            stack.push_async_callback(door.stop)
        say(f"ReCodEx clients at {_shown(self._table.clients, self._frontend.port)}, workers at {self.workers}")
        if self._monitor is not None:
            say(f"progress for browsers at ws://{listen_address(self._table.monitor)[0]}:{self._monitor.port}")

    @property
    def workers(self) -> str:
        """The address of the workers' door."""
        return _shown(self._table.workers, self._backend.port)

    async def notify(self) -> None:
        """Tell the web application how jobs ended, until cancelled."""
        await self._notifier.run()

    async def _fetch(self, url: str) -> bytes:
        content = io.BytesIO()
        try:
            await self._fetcher.get(url, content, self._limit)
        except TransferError as error:
            raise CrossdockError(Code.INVALID, str(error)) from error
        return content.getvalue()


def _options(table: Recodex) -> RecodexOptions:
    return RecodexOptions(
        clients=table.clients,
        workers=table.workers,
        ping_interval=table.ping_interval,
        max_liveness=table.max_liveness,
        max_request_failures=table.max_failures,
        no_worker=table.no_worker,
        told=table.notifier is not None or bool(table.feed),
        insecure=table.insecure,
        curve=_curve(table),
    )


def _curve(table: Recodex) -> Curve | None:
    if not table.secret_key:
        return None
    try:
        secret = Path(table.secret_key).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise CrossdockError(Code.INVALID, f"recodex.secret_key: {table.secret_key} cannot be read: {error}") from None
    return Curve(secret_key=secret, clients=Path(table.client_keys))


def _monitor(table: Recodex, broker: Broker) -> Monitor | None:
    if not table.monitor:
        return None
    host, port = listen_address(table.monitor)
    return Monitor(MonitorOptions(host=host, port=port), broker.intake, resolver(broker.records))


def _notifier(table: Recodex, own: Sequence[FileManager]) -> NotifierOptions:
    results = {manager.prefix: (manager.username, manager.password) for manager in own}
    if table.notifier is None:
        return NotifierOptions(url="", results=results)
    notifier = table.notifier
    return NotifierOptions(url=notifier.url, username=notifier.username, password=notifier.password, results=results)


def _shown(endpoint: str, port: int) -> str:
    return f"{endpoint.rpartition(':')[0]}:{port}"
