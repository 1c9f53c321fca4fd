"""The monitor: a WebSocket server that tells browsers how far their jobs are.

A browser connects (any path, no subprotocol) and sends one text message, the id of its job. It gets everything that was
told of the job so far, then what comes, and a normal close after ``FINISHED``. An id that nobody knows is silence until
something comes. Knowing the id is the permission, as in ReCodEx; keep the port behind a proxy that speaks TLS.

What is told comes from the core's event log (see :mod:`.messages`), so jobs of other protocols are shown too, under
the id that the core gave them.
"""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import decode_id
from crossdock.core.ports import Intake, Records
from crossdock.http.server import bind
from crossdock.protocols.recodex.monitor.channels import Resolve
from crossdock.protocols.recodex.monitor.hub import Hub
from crossdock.protocols.recodex.translation import JOBS, read_known

PORT: Final = 4567

_FULL: Final = 64 * 1024
"""Bytes that wait to be sent to one listener; above that it is offered no more until it has taken some."""

_quiet: Final = logging.getLogger("crossdock.recodex.monitor.websockets")
_quiet.setLevel(logging.CRITICAL)  # what strangers do to the port is no event of ours


class MonitorOptions(Struct, frozen=True, kw_only=True):
    """How the monitor behaves. Durations are seconds, sizes bytes.

    ``connections`` is how many there may be at once, ``message`` how large what a listener says may be, ``greeting`` how
    long it may take to name its job. A listener that takes nothing for ``patience`` is dropped. ``grace`` is how long after
    a job's end its worker may say the last steps itself. Progress that belongs to no running job is kept for ``keep``.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    connections: int = 5000
    message: int = 4096
    greeting: float = 30.0
    patience: float = 30.0
    grace: float = 1.0
    keep: float = 300.0


class Monitor:
    """The server, started and stopped by its owner in the running event loop.

    Args:
        options: where to listen and what to allow.
        intake: where the logs of jobs are.
        resolve: finds the job that a browser names, see :func:`resolver`.
    """

    def __init__(self, options: MonitorOptions, intake: Intake, resolve: Resolve) -> None:
        self.port = options.port
        self.hub = Hub(intake, resolve, grace=options.grace, keep=options.keep, patience=options.patience)
        self._options = options
        self._server: Server | None = None
        self._tending: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def listeners(self) -> int:
        """How many connections are open."""
        return 0 if self._server is None else len(self._server.connections)

    async def start(self) -> None:
        """Listen; on return connections are accepted.

        Raises:
            CrossdockError: ``unavailable`` if the address cannot be bound.
        """
        options = self._options
        sock = bind(options.host, options.port)
        self.port = sock.getsockname()[1]
        self._tending = asyncio.create_task(self.hub.tend(), name="monitor laggards")
        self._server = await serve(
            self._serve,
            sock=sock,
            process_request=self._admit,
            compression=None,
            server_header=None,
            max_size=options.message,
            max_queue=4,
            close_timeout=5,
            logger=_quiet,
        )

    async def stop(self) -> None:
        """Close every connection with 1001 and listen no more. Twice is harmless."""
        if self._tending is None:
            return
        tending, self._tending = self._tending, None
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        await self.hub.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _admit(self, connection: ServerConnection, _: Request) -> Response | None:
        if self.listeners >= self._options.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many listeners\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        """Serve one listener until it goes or its job has ended."""
        with suppress(ConnectionClosed):
            try:
                async with asyncio.timeout(self._options.greeting):
                    name = await connection.recv()
            except TimeoutError:
                await connection.close(1008, "the id of a job was expected")
                return
            if not isinstance(name, str):
                await connection.close(1003, "the id of a job is text")
                return
            listener = _Listener(connection, self._closing)
            channel = self.hub.join(name, listener)
            try:
                async for _ in connection:  # nothing else is read of what a listener says
                    pass
            finally:
                self.hub.leave(channel, listener)


class _Listener:
    """Implements :class:`~crossdock.protocols.recodex.monitor.channels.Listener` over a connection."""

    def __init__(self, connection: ServerConnection, closing: set[asyncio.Task[None]]) -> None:
        self.position = 0
        self._connection = connection
        self._closing = closing
        self._ended = False

    def offer(self, data: bytes) -> bool:
        """Write frames that were made once for everybody, unless too much waits to be sent already."""
        transport = self._connection.transport
        waiting = transport.get_write_buffer_size()
        if (waiting and waiting + len(data) > _FULL) or self._connection.state is not State.OPEN:
            return False
        transport.write(data)
        return True

    def end(self) -> None:
        """Close normally, after everything that was written."""
        if not self._ended:
            self._ended = True
            task = asyncio.create_task(self._connection.close(), name="close a listener")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def drop(self) -> None:
        """Hang up."""
        self._connection.transport.abort()


def resolver(records: Records) -> Resolve:
    """Return what finds the job that a browser names.

    That is the newest job which a client of ReCodEx submitted under this id, else the job with this id of the core.

    Args:
        records: where the frontend notes the ids of its clients.
    """

    async def resolve(channel: str) -> int | None:
        record = await records.get(JOBS, channel)
        if record is not None:
            return read_known(record.value).job
        with suppress(CrossdockError):
            return decode_id(channel)
        return None

    return resolve
