"""A ZeroMQ ROUTER socket in the event loop: drained in batches, never blocking, and losing no reply for want of room.

The socket is a plain one. A task per message would cost more than all the rest; so the loop watches the socket's file
descriptor, which is edge-triggered: it fires once for everything that came since it was last looked at, and sending may
swallow that signal. Hence the rules: read until there is nothing more, and look again after every send.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.backend import Socket as BackendSocket

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.loopback import is_loopback
from crossdock.protocols.recodex.options import Curve

_BATCH: Final = 200
"""Messages read before other tasks get a turn."""
_BATCHES: Final = 25
_HANDSHAKE: Final = 5000
_HEARTBEAT: Final = 30_000
_LINGER: Final = 500
"""Milliseconds: for a handshake, between heartbeats of the transport, and for the last replies when the door closes."""
_CONNECTIONS: Final = 4096
"""Connections that may wait to be taken; the system may allow fewer."""
_RETRY: Final = 0.02
_WAITING: Final = 200_000
_WAITING_BYTES: Final = 64 * 2**20
"""Messages, and their bytes, kept for peers that do not read; beyond either more is dropped, as the original broker does
beyond 1,000 messages."""
_DOMAIN: Final = "crossdock"

# What pyzmq puts around these spends most of the time of a message on flags that are enumerations.
_recv: Final[Any] = BackendSocket.recv
_put: Final[Any] = BackendSocket.send
_events: Final[Any] = BackendSocket.get
_EVENTS: Final = int(zmq.EVENTS)
_READABLE: Final = int(zmq.POLLIN)
_NOW: Final = int(zmq.NOBLOCK)
_NOW_AND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)

Batch = list[tuple[bytes, list[bytes]]]
"""Messages: the peer's routing id, and the frames."""

Lost = Callable[[], None]

Waiting = deque[tuple[tuple[bytes, ...], Lost | None]]
"""Messages for one peer, in order: the frames with its routing id, and who learns that they cannot be sent."""


class Router:
    """One door.

    Args:
        address: where to bind, ``tcp://HOST:PORT``; port 0 for any that is free.
        receive: is given what came, in order; it must not block and not raise.
        largest: the greatest frame in bytes. A peer that sends a greater one is disconnected.
        insecure: open the door beyond loopback without encryption.
        curve: encryption, and who may come in.
    """

    def __init__(
        self,
        address: str,
        receive: Callable[[Batch], None],
        *,
        largest: int,
        insecure: bool = False,
        curve: Curve | None = None,
    ) -> None:
        check_exposure(address, insecure=insecure, curve=curve)
        self._address = address
        self._receive = receive
        self._largest = largest
        self._curve = curve
        self._context: zmq.asyncio.Context | None = None
        self._authenticator: AsyncioAuthenticator | None = None
        self._socket: Any = None
        self._descriptor: int | None = None
        self._outgoing: list[tuple[bytes, Sequence[bytes], Lost | None]] = []
        self._waiting: dict[bytes, Waiting] = {}
        self._kept = 0
        self._kept_bytes = 0
        self._looking = False
        self._paused = False
        self.dropped = 0
        self.port = 0

    async def start(self) -> None:
        """Bind.

        Raises:
            CrossdockError: ``unavailable`` if the address cannot be bound, ``invalid`` if it is none.
        """
        self._loop = asyncio.get_running_loop()
        self._context = zmq.asyncio.Context()
        socket = self._socket = zmq.Context(self._context).socket(zmq.ROUTER)
        self._configure(socket)
        try:
            if self._curve is not None:
                self._protect(socket, self._curve)
            socket.bind(self._address)
        except (zmq.ZMQError, ValueError, OSError) as error:
            await self.stop()
            raise CrossdockError(Code.UNAVAILABLE, f"{self._address} cannot be listened at: {error}") from error
        self.port = urlsplit(socket.getsockopt_string(zmq.LAST_ENDPOINT)).port or 0
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._look_again()

    def _configure(self, socket: "zmq.Socket[bytes]") -> None:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, self._largest)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * _HEARTBEAT)
        socket.setsockopt(zmq.BACKLOG, _CONNECTIONS)
        socket.setsockopt(zmq.LINGER, _LINGER)
        socket.setsockopt(zmq.IPV6, int("[" in self._address))

    def _protect(self, socket: "zmq.Socket[bytes]", curve: Curve) -> None:
        """Let in only peers whose keys are known. With the domain enforced nobody gets in should the handler be gone."""
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve(_DOMAIN, str(curve.clients))  # pyright: ignore[reportUnknownMemberType]
        socket.setsockopt_string(zmq.ZAP_DOMAIN, _DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, curve.secret_key)

    async def stop(self) -> None:
        """Close the door; replies that are on their way still have half a second."""
        if self._socket is not None:
            self._flush()
            if self._descriptor is not None:
                self._loop.remove_reader(self._descriptor)
            self._socket.close()
            self._socket = None
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        if self._context is not None:
            context, self._context = self._context, None
            await self._loop.run_in_executor(None, context.term)

    def send(self, peer: bytes, frames: Sequence[bytes], lost: Lost | None = None) -> None:
        """Send a message soon: what gathers in one turn of the loop leaves together, which wakes the transport once.

        Args:
            peer: whom to.
            frames: the message.
            lost: called later, and in no case from here, if there is no such peer any more or it reads too little.
        """
        self._outgoing.append((peer, frames, lost))
        if len(self._outgoing) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._socket is None:
            return
        self._look_again()
        for peer, frames, lost in outgoing:
            waiting = self._waiting.get(peer) if self._waiting else None
            if waiting is not None:
                self._keep(waiting, (peer, *frames), lost)
                continue
            try:
                _send(self._socket, (peer, *frames))
            except zmq.Again:
                self._keep(self._waiting.setdefault(peer, deque()), (peer, *frames), lost)
                if len(self._waiting) == 1:
                    self._loop.call_later(_RETRY, self._retry)
            except zmq.ZMQError:
                if lost is not None:
                    lost()

    def pause(self) -> None:
        """Read nothing until :meth:`resume`."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self._look_again()

    def drain(self) -> None:
        """Read what has come by now, within reason, before the caller judges who has been silent."""
        for _ in range(_BATCHES):
            if not self._drain():
                return

    def _keep(self, waiting: Waiting, message: tuple[bytes, ...], lost: Lost | None) -> None:
        if self._kept >= _WAITING or self._kept_bytes >= _WAITING_BYTES:
            self.dropped += 1
            _tell(self._loop, lost)
            return
        self._kept += 1
        self._kept_bytes += sum(map(len, message))
        waiting.append((message, lost))

    def _forget(self, waiting: Waiting) -> Lost | None:
        """Take the first message out; return who would learn that it is lost."""
        message, lost = waiting.popleft()
        self._kept -= 1
        self._kept_bytes -= sum(map(len, message))
        return lost

    def _retry(self) -> None:
        """Send what waits for peers to read, in order; forget it for those that have gone."""
        if self._socket is None:
            return
        for peer, waiting in list(self._waiting.items()):
            try:
                while waiting:
                    _send(self._socket, waiting[0][0])
                    self._forget(waiting)
            except zmq.Again:
                continue
            except zmq.ZMQError:
                while waiting:
                    _tell(self._loop, self._forget(waiting))
            del self._waiting[peer]
        self._look_again()
        if self._waiting:
            self._loop.call_later(_RETRY, self._retry)

    def _look_again(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> bool:
        """Read one batch; tell whether there may be more."""
        self._looking = False
        if self._paused or self._socket is None:
            return False
        batch: Batch = []
        if not _events(self._socket, _EVENTS) & _READABLE:  # the usual answer after sending, and cheaper than an error
            return False
        try:
            for _ in range(_BATCH):
                peer, *frames = _receive(self._socket)
                batch.append((peer, frames))
            self._look_again()
        except zmq.Again:
            pass
        if batch:
            self._receive(batch)
        return len(batch) == _BATCH


def _receive(socket: Any) -> list[bytes]:
    """Return the next message. Frames tell whether more follow, which costs less than to ask the socket each time.

    Raises:
        zmq.Again: there is none.
    """
    frame = _recv(socket, _NOW, copy=False)
    message = [frame.bytes]
    while frame.more:
        frame = _recv(socket, _NOW, copy=False)
        message.append(frame.bytes)
    return message


def _send(socket: Any, message: tuple[bytes, ...]) -> None:
    """Send a message. If that cannot be, the first frame says so; the others follow in any case."""
    for frame in message[:-1]:
        _put(socket, frame, _NOW_AND_MORE)
    _put(socket, message[-1], _NOW)


def check_exposure(address: str, *, insecure: bool, curve: Curve | None) -> None:
    """Refuse a door that anybody on the network could walk through.

    Raises:
        CrossdockError: ``invalid``.
    """
    if insecure or curve is not None or is_loopback(urlsplit(address).hostname or ""):
        return
    text = f"{address} is open to the network and its peers are not authenticated: set curve keys, or insecure = true"
    raise CrossdockError(Code.INVALID, text)


def _tell(loop: asyncio.AbstractEventLoop, lost: Lost | None) -> None:
    """Tell of a loss, but not in the middle of what is going on here."""
    if lost is not None:
        loop.call_soon(lost)
