"""How both clients reach the broker and the file server."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import httpx
import zmq

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.client import calls
from crossdock.protocols.recodex.client.calls import Address
from crossdock.protocols.recodex.keys import curve_options

Socket = TypeVar("Socket", bound="zmq.Socket[Any]")

TIMEOUT: Final = 10.0
"""Seconds to wait for an answer."""


class Dealer(Generic[Socket]):
    """A connection to the broker, opened when it is first needed.

    Args:
        context: is closed with this object.
        address: has the broker's address, and keys if it is to be encrypted.
    """

    def __init__(self, context: zmq.Context[Socket], address: Address) -> None:
        self._context = context
        self._address = address
        self._socket: Socket | None = None

    def socket(self) -> Socket:
        """Return the open socket.

        Raises:
            CrossdockError: ``invalid`` if a key or the address cannot be used.
        """
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            _configure(self._socket, self._address)
        return self._socket

    def drop(self) -> None:
        """Close the socket; the next one is new, and hears nothing of what this one was told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close the socket and the context."""
        self.drop()
        self._context.term()


def credentials(address: Address, password: str) -> httpx.BasicAuth | None:
    """Return what the file server is told of who we are, None if there is nothing to tell."""
    return httpx.BasicAuth(address.username, password) if address.username or password else None


@contextmanager
def reaching(url: str) -> Generator[None, None, None]:
    """Raise ``unavailable`` if the server at a URL does not answer what is asked inside."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise calls.unreachable(url, error) from error


def _configure(socket: "zmq.Socket[Any]", address: Address) -> None:
    socket.linger = 0
    socket.maxmsgsize = calls.LARGEST_ANSWER
    try:
        for option, key in curve_options(address.server_key, address.secret_key).items():
            socket.setsockopt(option, key)
        socket.connect(address.broker)
    except (OSError, ValueError, zmq.ZMQError) as error:
        raise CrossdockError(Code.INVALID, f"{address.broker} cannot be connected to: {error}") from error
