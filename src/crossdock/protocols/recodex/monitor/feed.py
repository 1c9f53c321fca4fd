"""The feed of another monitor, over ZeroMQ, as the original broker feeds its own.

The monitor binds a ROUTER socket and calls itself ``recodex-monitor``; ours connects and addresses every message to that
name. While there is no monitor messages are dropped: it could not use them later.
"""

from collections.abc import Sequence
from typing import Final

import zmq

from crossdock.core.errors import Code, CrossdockError

ENDPOINT: Final = "tcp://127.0.0.1:7894"
_MONITOR: Final = b"recodex-monitor"
_EXIT: Final = ("0", b"exit")
"""The channel and the command with which the monitor is stopped: no worker may send that."""

_MOST: Final = 4
"""Frames from the channel on that a monitor reads."""
_HEARTBEAT: Final = 5000
_SILENCE: Final = 15_000
_RECONNECT: Final = 100
_RECONNECT_MOST: Final = 5000
_HANDSHAKE: Final = 5000
"""Milliseconds."""


class Feed:
    """Passes progress on to a monitor. Nothing here ever waits.

    Args:
        endpoint: where the monitor listens.
    """

    def __init__(self, endpoint: str = ENDPOINT) -> None:
        self.sent = 0
        self.dropped = 0
        self._endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def start(self) -> None:
        """Connect, now or once the monitor is there.

        Raises:
            CrossdockError: ``invalid`` if the endpoint is none.
        """
        self._context = zmq.Context[zmq.Socket[bytes]]()
        socket = self._socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # else what nobody gets would not be counted
        socket.setsockopt(zmq.IMMEDIATE, 1)  # else a thousand old messages would wait for a monitor that comes back
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # and it could not take the place of the one before
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENCE)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MOST)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE)
        socket.setsockopt(zmq.IPV6, int("[" in self._endpoint))
        try:
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            self.stop()
            raise CrossdockError(Code.INVALID, f"{self._endpoint} is no address of a monitor: {error}") from None

    def feed(self, channel: str, frames: Sequence[bytes]) -> None:
        """Pass on progress, if the monitor is there.

        Args:
            channel: the job's id.
            frames: a command, and of ``TASK`` the task's id and state. Without a command nothing is sent: a monitor that got
                that would die.
        """
        if self._socket is None or not frames or not channel or (channel, frames[0]) == _EXIT:
            self.dropped += 1
            return
        try:
            self._socket.send_multipart([_MONITOR, channel.encode(errors="replace"), *frames[: _MOST - 1]], zmq.DONTWAIT)
        except zmq.ZMQError:  # it is away, or does not keep up
            self.dropped += 1
        else:
            self.sent += 1

    def stop(self) -> None:
        """Disconnect. Twice is harmless."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
        if self._context is not None:
            self._context.term()
            self._context = None
