"""A web application that takes every call, with as little of HTTP/1.1 as the requests of the notifier need."""

import re
import socket
from collections.abc import Callable
from typing import Final

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_READ: Final = 2**16


class Receiver:
    """Counts calls.

    Args:
        listener: where they come in.
        watch: has a function called whenever something can be read from a descriptor.
    """

    def __init__(self, listener: socket.socket, watch: Callable[[int, Callable[[], object]], None]) -> None:
        self.calls = 0
        self._listener = listener
        self._watch = watch
        self._connections: dict[int, tuple[socket.socket, bytearray]] = {}
        watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        descriptor = connection.fileno()
        self._connections[descriptor] = (connection, bytearray())
        self._watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> None:
        connection, received = self._connections[descriptor]
        data = connection.recv(_READ)
        if not data:
            del self._connections[descriptor]
            connection.close()
            return
        received += data
        while (end := received.find(_END)) >= 0:
            length = _LENGTH.search(received, 0, end + 2)
            whole = end + len(_END) + (int(length[1]) if length else 0)
            if len(received) < whole:
                return
            del received[:whole]
            self.calls += 1
            connection.sendall(_ANSWER)
