"""A client of RabbitMQ over plain TCP, for a load that leaves the processors to those that are measured.

It knows one channel, publishing with confirms and consuming without acknowledgement. What it publishes was put into bytes
before the clock starts.
"""

import select
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader

_HEADER: Final = struct.Struct(">BHI")
_METHOD, _CONTENT, _BODY = 1, 2, 3
_DELIVER: Final = b"\x00\x3c\x00\x3c"
_ACK: Final = b"\x00\x3c\x00\x50"
_TAG: Final = struct.Struct(">QB")
_SIZE: Final = struct.Struct(">Q")
_READ: Final = 2**18
_REFUSALS: Final = (commands.Channel.Close, commands.Connection.Close, commands.Basic.Return, commands.Basic.Nack)
_CHANNEL: Final = 1
_PERSISTENT: Final = 2


def publication(exchange: str, key: str, body: bytes, **properties: Any) -> bytes:
    """Return the bytes that publish a persistent message, which comes back if there is no queue for it."""
    header = ContentHeader(0, len(body), commands.Basic.Properties(delivery_mode=_PERSISTENT, **properties))
    frames = (commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True), header, ContentBody(body))
    return b"".join(pamqp.frame.marshal(frame, _CHANNEL) for frame in frames)


class Wire:
    """A connection with one channel.

    Args:
        url: of the broker, with user, password and virtual host.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._body: bytearray | None = None
        self._left = 0
        self._published = 0
        self._unconfirmed: set[int] = set()
        self._answers: list[Frame] = []
        self.bodies: list[bytes] = []
        """What was delivered and not yet taken out of here."""
        self._greet(parts.username or "guest", parts.password or "guest", unquote(parts.path[1:]) or "/")

    def _greet(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(ProtocolHeader().marshal())
        self._answer()
        response = f"\0{user}\0{password}"
        self.call(commands.Connection.StartOk({}, "PLAIN", response), channel=0)
        self._socket.sendall(pamqp.frame.marshal(commands.Connection.TuneOk(2047, 131072, 0), 0))
        self.call(commands.Connection.Open(vhost), channel=0)
        self.call(commands.Channel.Open())
        self.call(commands.Confirm.Select())

    def call(self, frame: Frame, channel: int = _CHANNEL) -> None:
        """Say something, and wait for the answer."""
        self._socket.sendall(pamqp.frame.marshal(frame, channel))
        self._answer()

    def _answer(self) -> None:
        while not self._answers:
            self._read()
        self._answers.clear()

    @property
    def unconfirmed(self) -> int:
        """How much that was published is not confirmed."""
        return len(self._unconfirmed)

    def publish(self, publications: Sequence[bytes]) -> None:
        """Publish what :func:`publication` made, with the next :meth:`turn`."""
        for one in publications:
            self._published += 1
            self._unconfirmed.add(self._published)
            self._outgoing += one

    def turn(self, wait: float) -> list[bytes]:
        """Write and read what can be; return what was delivered, waiting at most so many seconds for something."""
        while self._outgoing:
            del self._outgoing[: self._socket.send(self._outgoing)]
        if select.select([self._socket], [], [], wait)[0]:
            self._read()
        bodies, self.bodies = self.bodies, []
        return bodies

    def _read(self) -> None:
        data = self._socket.recv(_READ)
        if not data:
            raise RuntimeError("RabbitMQ hung up")
        incoming = self._incoming
        incoming += data
        place = 0
        while len(incoming) - place >= _HEADER.size:
            kind, _, size = _HEADER.unpack_from(incoming, place)
            begins = place + _HEADER.size
            if len(incoming) < begins + size + 1:
                break
            self._take(kind, bytes(incoming[begins : begins + size]), bytes(incoming[place : begins + size + 1]))
            place = begins + size + 1
        del incoming[:place]

    def _take(self, kind: int, content: bytes, frame: bytes) -> None:
        if kind == _BODY and self._body is not None:
            self._body += content
            self._end()
        elif kind == _CONTENT:
            (self._left,) = _SIZE.unpack_from(content, 4)
            self._end()
        elif kind != _METHOD:
            return
        elif content[:4] == _ACK:
            self._confirm(*_TAG.unpack_from(content, 4))
        elif content[:4] == _DELIVER:
            self._body = bytearray()
        else:
            self._take_other(frame)

    def _end(self) -> None:
        """End a delivery if its body is whole."""
        if self._body is not None and len(self._body) >= self._left:
            self.bodies.append(bytes(self._body))
            self._body = None

    def _confirm(self, tag: int, multiple: int) -> None:
        if multiple & 1:
            self._unconfirmed = {other for other in self._unconfirmed if other > tag}
        else:
            self._unconfirmed.discard(tag)

    def _take_other(self, frame: bytes) -> None:
        answer = pamqp.frame.unmarshal(frame)[2]
        if isinstance(answer, _REFUSALS):
            text = f"RabbitMQ refuses: {getattr(answer, 'reply_text', answer.name)}"
            raise RuntimeError(text)  # noqa: TRY004 - a fact about the broker
        self._answers.append(answer)
