"""The bytes under the AMQP library: writes are gathered, deliveries are taken out, other frames are overheard.

The library writes every frame by itself, which is one system call each, and does not tell when RabbitMQ blocks us, nor why
it hung up while we connected.
"""

import asyncio
from typing import Any, Final

import pamqp.frame
from aiormq import SSLContextProvider, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp.heartbeat import Heartbeat
from yarl import URL

from crossdock.protocols.jsonbus.sorting import Overhear, Sorter

_HELD: Final = 2**18
"""Bytes that are gathered at most."""
_MOMENT: Final = 0.001
"""Seconds between two writes to the socket under load."""
_LIMIT: Final = 2**20
"""Bytes that are read ahead of the library, about half of them at a time."""
_SIGN: Final = 1.0
"""Seconds after which the library gets a sign of life."""
_HEARTBEAT: Final = pamqp.frame.marshal(Heartbeat(), 0)


class Transport(TransportFactory):
    """Makes connections for the library.

    Args:
        overhear: is given what comes on channel 0: blocked, unblocked, close.
    """

    def __init__(self, overhear: Overhear) -> None:
        self.sorter = Sorter(overhear)
        self.writer: GatheringWriter | None = None
        """The socket, once there is one."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the host and port of an URL, with TLS if its scheme says so.

        Raises:
            AMQPConnectionError: it could not; the cause says why.
        """
        certificates: SSLContextProvider = kwargs["ssl_context_provider"]
        loop = asyncio.get_running_loop()
        reader = SortedReader(self.sorter)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            context = await certificates.get_context() if url.scheme == "amqps" else None
            host, port = str(url.host), int(url.port or 0)
            transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=context)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.writer = GatheringWriter(transport, protocol, reader, loop)
        return reader, self.writer


class SortedReader(asyncio.StreamReader):
    """A reader that gives the library what a sorter leaves it.

    Args:
        sorter: takes everything first.
    """

    def __init__(self, sorter: Sorter) -> None:
        super().__init__(_LIMIT)
        self._sorter = sorter
        self._clock = asyncio.get_running_loop()
        self._fed = 0.0

    def feed_data(self, data: Any) -> None:
        """Take bytes from the socket."""
        rest = self._sorter.sort(bytes(data))
        now = self._clock.time()
        if not rest and now - self._fed >= _SIGN:
            # RabbitMQ sends no heartbeats while it delivers, and the library ends a connection on which it sees nothing.
            rest = _HEARTBEAT
        if rest:
            self._fed = now
            super().feed_data(rest)


class GatheringWriter(asyncio.StreamWriter):
    """A writer that sends what was written during one turn of the loop at once, and under load during a millisecond."""

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.StreamReaderProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._held: list[bytes] = []
        self._size = 0
        self._clock = loop
        self._flushed = 0.0

    @property
    def waiting(self) -> int:
        """Return how many bytes wait for the socket."""
        return self.transport.get_write_buffer_size()

    def write(self, data: Any) -> None:
        """Take bytes, and send them soon."""
        if not self._held:
            if self._clock.time() - self._flushed >= _MOMENT:
                self._clock.call_soon(self.flush)
            else:
                self._clock.call_later(_MOMENT, self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= _HELD:
            self.flush()

    def flush(self) -> None:
        """Send what has gathered."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._flushed = self._clock.time()
            super().write(held[0] if len(held) == 1 else b"".join(held))

    async def drain(self) -> None:
        """Wait until the socket takes more; what has gathered goes first."""
        self.flush()
        await super().drain()

    def write_eof(self) -> None:
        """Send what has gathered, and that nothing follows."""
        self.flush()
        super().write_eof()

    def close(self) -> None:
        """Send what has gathered, and close."""
        self.flush()
        super().close()
