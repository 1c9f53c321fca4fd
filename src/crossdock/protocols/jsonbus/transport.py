"""The bytes under the AMQP library: writes are gathered, and what RabbitMQ says about the whole connection is overheard.

The library writes every frame by itself, which is one system call each, and does not tell when RabbitMQ blocks us, nor why
it hung up while we connected. It breaks off over properties that it cannot read, so it is given none of these.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

import pamqp.frame
from aiormq import SSLContextProvider, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands
from pamqp.base import Frame
from pamqp.exceptions import PAMQPException
from yarl import URL

from crossdock.protocols.jsonbus.properties import readable

_HEADER: Final = struct.Struct(">BHI")
_METHOD: Final = 1
_CONTENT: Final = 2
_HELD: Final = 2**18
"""Bytes that are gathered at most."""
_MOMENT: Final = 0.001
"""Seconds between two writes to the socket under load."""
_LIMIT: Final = 2**20
"""Bytes that are read ahead of the library, about half of them at a time."""

Overhear = Callable[[Frame], None]


class Transport(TransportFactory):
    """Makes connections for the library.

    Args:
        overhear: is given what comes on channel 0: blocked, unblocked, close.
    """

    def __init__(self, overhear: Overhear) -> None:
        self._overhear = overhear
        self.writer: GatheringWriter | None = None
        """The socket, once there is one."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the host and port of an URL, with TLS if its scheme says so.

        Raises:
            AMQPConnectionError: it could not; the cause says why.
        """
        certificates: SSLContextProvider = kwargs["ssl_context_provider"]
        loop = asyncio.get_running_loop()
        reader = ListeningReader(self._overhear)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            context = await certificates.get_context() if url.scheme == "amqps" else None
            host, port = str(url.host), int(url.port or 0)
            transport, _ = await loop.create_connection(lambda: protocol, host, port, ssl=context)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.writer = GatheringWriter(transport, protocol, reader, loop)
        return reader, self.writer


class ListeningReader(asyncio.StreamReader):
    """A reader that looks at the methods of channel 0 as they pass."""

    def __init__(self, overhear: Overhear) -> None:
        super().__init__(_LIMIT)
        self._overhear = overhear
        self._seen = bytearray()
        self._skip = 0
        self._begun = b""

    async def readexactly(self, n: int) -> bytes:
        """Return bytes of the socket. The library asks for the beginning of a frame, in pieces, and then for the rest."""
        data = await super().readexactly(n)
        if len(self._begun) < _HEADER.size:
            self._begun += data
            return data
        kind, self._begun = self._begun[0], b""
        return readable(data[:-1]) + data[-1:] if kind == _CONTENT else data

    def feed_data(self, data: Any) -> None:
        """Take bytes from the socket."""
        super().feed_data(data)
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        self._seen += memoryview(data)[self._skip :]
        self._skip = 0
        self._listen()

    def _listen(self) -> None:
        """Walk over the frames that have begun; only a method of channel 0 is waited for as a whole."""
        seen, place = self._seen, 0
        while len(seen) - place >= _HEADER.size:
            kind, channel, size = _HEADER.unpack_from(seen, place)
            after = place + _HEADER.size + size + 1
            if kind == _METHOD and channel == 0:
                if after > len(seen):
                    break
                self._tell(bytes(seen[place:after]))
            place = after
        self._skip = max(0, place - len(seen))
        del seen[:place]

    def _tell(self, frame: bytes) -> None:
        try:
            content = pamqp.frame.unmarshal(frame)[2]
        except PAMQPException:
            return  # the library says so when it comes to it
        if isinstance(content, commands.Connection.Blocked | commands.Connection.Unblocked | commands.Connection.Close):
            self._overhear(content)


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
