"""Serving an ASGI application: uvicorn with our limits, started and stopped by its owner, on a socket bound up front."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Final

import uvicorn
from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.connection import Limits, connection_class
from crossdock.http.loopback import is_loopback

BACKLOG: Final = 2048


class ServerOptions(Struct, frozen=True, kw_only=True):
    """Where and how to listen. ``stop_seconds`` is how long requests may still take when the server is stopped."""

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    private_key: Path | None = None
    limits: Limits = Limits()
    stop_seconds: float = 5.0


class Server:
    """An HTTP server in the running event loop.

    Args:
        app: the ASGI application.
        options: where and how to listen.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._options = options
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._server: _Uvicorn | None = None
        self.port = options.port

    @property
    def url(self) -> str:
        """The address of the server as clients on this machine write it."""
        host = self._options.host
        if host in ("", "0.0.0.0", "::"):
            host = "127.0.0.1"
        scheme = "https" if self._options.certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Listen; on return connections are accepted.

        Raises:
            CrossdockError: ``unavailable`` if the address cannot be bound, ``invalid`` for a certificate that cannot be
                read.
        """
        sock = bind(self._options.host, self._options.port)
        self.port = sock.getsockname()[1]
        try:
            self._server = _Uvicorn(self._configuration())
        except (OSError, ssl.SSLError) as error:
            sock.close()
            raise CrossdockError(Code.INVALID, f"the TLS certificate cannot be used: {error}") from error
        self._task = asyncio.create_task(self._server.serve([sock]), name="http server")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Accept no more connections, let requests end for a moment, answer 503 to the rest. Twice is harmless."""
        self._stopping.set()
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["crossdock.stopping"] = self._stopping
        await self._app(scope, receive, send)

    def _configuration(self) -> uvicorn.Config:
        options = self._options
        configuration = uvicorn.Config(
            self._serve,
            http=connection_class(options.limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=options.limits.idle_seconds,
            timeout_graceful_shutdown=max(1, round(options.stop_seconds)),
            ssl_certfile=options.certificate,
            ssl_keyfile=options.private_key,
        )
        configuration.load()
        return configuration


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: our owner decides when to stop. ``ready`` is set once it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        CrossdockError: ``unavailable`` with the reason.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it: a small answer must not wait for the acknowledgement of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise CrossdockError(Code.UNAVAILABLE, f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sock


def check_exposure(host: str, *, keys: bool, public: bool = False) -> None:
    """Refuse to listen for other machines unless callers have to show a key, or everything open is meant to be public.

    Raises:
        CrossdockError: ``invalid``, with what to set.
    """
    if keys or public or is_loopback(host):
        return
    raise CrossdockError(
        Code.INVALID,
        f"refusing to listen on {host} without API keys: anybody who reaches it could run jobs. "
        "Add [[security.keys]] to the configuration (name, sha256, scopes), or listen on 127.0.0.1",
    )


def exposure_hint(host: str, *, tls: bool) -> str | None:
    """Return a warning for people if keys and jobs would travel in the clear, else None."""
    if tls or is_loopback(host):
        return None
    return (
        f"HTTP on {host} is not encrypted: keys and jobs can be read on the way. "
        "Set certificate and private_key in [http], or put a proxy that speaks TLS in front"
    )


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
