"""Drives one session: connects with the AMQP library, watches, and connects again."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import structlog
from aiormq import Connection
from msgspec import Struct
from pamqp import commands
from pamqp.base import Frame
from yarl import URL

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.complaints import Broker, Complaint, broker, explain
from crossdock.protocols.jsonbus.connection_session import Connect, ConnectionSession, GiveUp, Sleep, State, Step, Watch
from crossdock.protocols.jsonbus.declaring import Declarations, NotDeclared
from crossdock.protocols.jsonbus.transport import GatheringWriter, Transport

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")
# Everything it has to say is said here, in plain words; its own lines would stand beside them with stack traces.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

HEARTBEAT: Final = 15
"""Seconds between two signs of life that RabbitMQ and we agree on; three missed ones end a connection."""
_OPENING: Final = 30.0
"""Seconds that a connection has to be made, and to be put in order."""
_GOODBYE: Final = 5.0


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """Where the broker is and how it is talked to.

    ``url`` may have the parameters ``heartbeat`` (seconds, 0: none), ``cafile``, ``capath``, ``cadata``, ``certfile``,
    ``keyfile`` and ``no_verify_ssl=1``. ``ca`` is a PEM file of who may sign the broker's certificate. ``name`` is what its
    administrators see. A letter is confirmed within ``patience`` seconds, or else it is taken as not published.
    """

    url: str
    ca: str = ""
    name: str = "crossdock"
    patience: float = 30.0


Restore = Callable[[Connection], Awaitable[None]]


class Link:
    """One connection to RabbitMQ that comes back.

    Args:
        options: where to.
        purpose: part of its name.
        declarations: what is declared on it.
        restore: puts back on a new connection what was on the old one.
        ready: is called when that is done.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        purpose: str,
        declarations: Declarations,
        restore: Restore,
        ready: Callable[[], None],
    ) -> None:
        self.url = connection_url(options, purpose)
        self.declarations = declarations
        self.session = ConnectionSession(wait=False)
        self.open = asyncio.Event()
        """Set while RabbitMQ reads what we write."""
        self._purpose = purpose
        self._restore = restore
        self._ready = ready
        self._current: Connection | None = None
        self.transport = Transport(self._overhear)
        self._closing = ""
        self._task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None

    @property
    def connection(self) -> Connection:
        """The connection.

        Raises:
            CrossdockError: ``unavailable`` if there is none.
        """
        if self._current is None or not self.session.usable:
            why = f": {self.session.error.message}" if self.session.error else ""
            raise CrossdockError(Code.UNAVAILABLE, f"there is no connection to RabbitMQ at the moment{why}")
        return self._current

    @property
    def writer(self) -> GatheringWriter:
        """The socket of the connection. Raises :class:`CrossdockError` ``unavailable`` if there is none."""
        _ = self.connection
        return cast("GatheringWriter", self.transport.writer)

    @property
    def broker(self) -> Broker:
        """Return the broker as it may be shown."""
        return broker(self.url)

    async def start(self, *, wait: bool) -> None:
        """Connect.

        Args:
            wait: whether a broker that cannot be reached is waited for, in the background.

        Raises:
            CrossdockError: it cannot be reached, and is not waited for; or only people can mend it.
        """
        self.session = ConnectionSession(wait=wait)
        self._started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(self._started))
        await self._started

    async def close(self) -> None:
        """Hang up, for good."""
        self.session.close()
        self.open.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._hang_up()

    async def _keep(self, started: asyncio.Future[None]) -> None:
        step: Step = self.session.due()
        while True:
            if isinstance(step, Connect):
                step = await self._connect()
            elif isinstance(step, GiveUp):
                started.set_exception(step.error)
                return
            else:
                if not started.done():
                    started.set_result(None)
                step = await self._watch() if isinstance(step, Watch) else await self._sleep(step)

    async def _sleep(self, step: Sleep) -> Step:
        await asyncio.sleep(step.seconds)
        return self.session.due()

    async def _connect(self) -> Step:
        self._closing = ""
        try:
            async with asyncio.timeout(_OPENING):
                self.transport = Transport(self._overhear)
                connection = self._current = Connection(self.url, transport_factory=self.transport)
                await connection.connect()  # pyright: ignore[reportUnknownMemberType]
                await self._declare(connection)
                await self._restore(connection)
        except (Exception, asyncio.CancelledError) as error:  # whatever listens there, we come back
            if isinstance(error, asyncio.CancelledError) and cancelled_from_outside():
                raise
            complaint = explain(error, self.broker, self.declarations.parts, self._closing)
            await self._hang_up()
            return self._failed(complaint)
        step = self.session.opened(time.monotonic())
        self.open.set()
        _log.info("connected to RabbitMQ", broker=self.broker.address, vhost=self.broker.vhost, connection=self._purpose)
        self._ready()
        return step

    def _failed(self, complaint: Complaint) -> Step:
        step = self.session.failed(complaint.error, random.random(), lasting=complaint.lasting)  # noqa: S311
        if isinstance(step, Sleep):
            _log.warning(
                "no connection to RabbitMQ", connection=self._purpose, why=complaint.error.message, again=step.seconds
            )
        return step

    async def _declare(self, connection: Connection) -> None:
        """Declare everything. What does not fit keeps us from starting, but not from going on."""
        starting = self.session.starting
        for refused in await self.declarations.ensure(connection):
            if starting:
                raise refused
            self.complain(refused)

    def complain(self, refused: NotDeclared) -> None:
        """Tell the log about a part that was refused."""
        why = explain(refused, self.broker, self.declarations.parts, "").error.message
        _log.error("RabbitMQ refuses a part", connection=self._purpose, why=why)

    async def _watch(self) -> Step:
        closing = cast("asyncio.Future[None]", self.connection.closing)  # pyright: ignore[reportUnknownMemberType]
        await asyncio.wait([closing])
        self.open.clear()
        words = self._closing or "it broke"
        error = CrossdockError(Code.UNAVAILABLE, f"the connection to RabbitMQ at {self.broker.address} was lost: {words}")
        step = self.session.lost(error, time.monotonic(), random.random())  # noqa: S311
        _log.warning("lost RabbitMQ", connection=self._purpose, why=words)
        await self._hang_up()
        return step

    async def _hang_up(self) -> None:
        connection, self._current = self._current, None
        if connection is None:
            return
        try:
            await connection.close(timeout=_GOODBYE)
        except (Exception, asyncio.CancelledError) as error:  # a broker that is gone does not say goodbye
            if isinstance(error, asyncio.CancelledError) and cancelled_from_outside():
                raise

    def _overhear(self, frame: Frame) -> None:
        if isinstance(frame, commands.Connection.Close):
            self._closing = f"{frame.reply_code} {frame.reply_text}"
        elif not self.session.usable:
            return
        elif isinstance(frame, commands.Connection.Blocked):
            self.session.blocked(frame.reason)
            self.open.clear()
            _log.warning("RabbitMQ blocks us", connection=self._purpose, why=frame.reason)
        elif self.session.state is State.BLOCKED:
            self.session.unblocked()
            self.open.set()
            _log.info("RabbitMQ reads again", connection=self._purpose)


def connection_url(options: ConnectionOptions, purpose: str) -> URL:
    """Return an URL as the library takes it, with a port, heartbeats and a name.

    Raises:
        CrossdockError: ``invalid`` if it is none; the text never has the password.
    """
    try:
        url = URL(options.url)
        port = url.port or (5671 if url.scheme == "amqps" else 5672)
    except ValueError:
        # The error of the library quotes the URL, and with it the password.
        raise CrossdockError(Code.INVALID, "the URL of RabbitMQ is no URL: amqp://USER:PASSWORD@HOST:PORT/VHOST") from None
    if url.scheme not in ("amqp", "amqps") or not url.host:
        raise CrossdockError(Code.INVALID, "the URL of RabbitMQ has to be amqp[s]://USER:PASSWORD@HOST:PORT/VHOST")
    given = {"heartbeat": str(HEARTBEAT), "name": f"{options.name} {purpose}", **dict(url.query)}
    if options.ca:
        given["cafile"] = options.ca
    return url.with_port(port).with_query(given)


def cancelled_from_outside() -> bool:
    """Return whether it is we who are cancelled: the library also raises CancelledError when a connection breaks."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
