"""Answers that leave in one piece: uvicorn writes the head and the body apart, and either write is a system call."""

import asyncio
from collections.abc import Callable
from typing import Final

_JOINED: Final = 64 * 1024
"""Bytes up to which a body is copied behind its head."""


class OneWrite:
    """The transport of one answer. It holds the first write back for the second, at most until the loop's next turn.

    Args:
        transport: where it goes.
        loop: the running loop.
        hang_up: closes the connection once the answer is written.
    """

    __slots__ = ("_hang_up", "_held", "_loop", "_transport", "_written")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, hang_up: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = loop
        self._hang_up = hang_up
        self._held = b""
        self._written = False

    def write(self, data: bytes) -> None:
        """Write soon, or now together with what was held."""
        if self._held and len(data) <= _JOINED:
            data, self._held = self._held + data, b""
        if self._written:
            self._flush()
            self._transport.write(data)
        else:
            self._written = True
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close the connection when everything is written."""
        self._flush()
        self._hang_up()

    def is_closing(self) -> bool:
        """Tell whether the connection is being closed."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
