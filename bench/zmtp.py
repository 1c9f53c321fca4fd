"""A DEALER socket of ZeroMQ over plain TCP (ZMTP 3.0, no encryption), for a load that leaves the processors to the broker.

From Python libzmq costs more per message than all else that a plain worker does for a job, part of it in a thread of its
own. On the wire there is no difference.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Final

_MORE: Final = 1
_LONG: Final = 2
_COMMAND: Final = 4
_SHORT: Final = 255
"""The greatest frame in bytes whose size is written in one byte."""
_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_TYPE: Final = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
_IDENTITY: Final = b"\x08Identity" + struct.pack(">I", 0)
_READY: Final = b"\x05READY" + _TYPE + _IDENTITY
_PING: Final = b"\x04PING"
_PONG: Final = b"\x04PONG"
_TTL: Final = 2
_READ: Final = 2**18


class Dealer:
    """A connection to a ROUTER on this machine.

    Args:
        port: where that listens.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._frames: list[bytes] = []
        self._socket.sendall(_GREETING + _frame(_COMMAND, _READY))
        while len(self._incoming) < len(_GREETING):
            self._read()
        del self._incoming[: len(_GREETING)]
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor, for whoever waits for several sockets."""
        return self._socket.fileno()

    def send(self, *frames: bytes) -> None:
        """Send a message with the next :meth:`flush`."""
        for frame in frames[:-1]:
            self._outgoing += _frame(_MORE, frame)
        self._outgoing += _frame(0, frames[-1])

    def flush(self) -> None:
        """Send as much as the other end takes now."""
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            return

    def receive(self) -> list[Sequence[bytes]]:
        """Return the messages that have come."""
        try:
            self._read()
        except BlockingIOError:
            return []
        messages: list[Sequence[bytes]] = []
        while (found := self._next()) is not None:
            flags, body = found
            if flags & _COMMAND:
                self._obey(body)
                continue
            self._frames.append(body)
            if not flags & _MORE:
                messages.append(self._frames)
                self._frames = []
        return messages

    def _read(self) -> None:
        data = self._socket.recv(_READ)
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._incoming += data

    def _next(self) -> tuple[int, bytes] | None:
        """Take the next frame out, if it is complete; return its flags and what it holds."""
        data = self._incoming
        if len(data) <= 1:
            return None
        start, size = 2, data[1]
        if data[0] & _LONG:
            start, size = 9, int.from_bytes(data[1:9], "big")
        if len(data) < start + size:
            return None
        flags, body = data[0], bytes(data[start : start + size])
        del data[: start + size]  # cheap: a bytearray only moves its beginning
        return flags, body

    def _obey(self, command: bytes) -> None:
        if command.startswith(_PING):
            self._outgoing += _frame(_COMMAND, _PONG + command[len(_PING) + _TTL :])
            self.flush()


def _frame(flags: int, body: bytes) -> bytes:
    if len(body) > _SHORT:
        return struct.pack(">BQ", flags | _LONG, len(body)) + body
    return bytes((flags, len(body))) + body
