"""uvicorn's HTTP connection with what it lacks: limits on headers and on connections, and answers that arrive.

A connection that is closed while the client still sends is reset by the kernel, and the reset can overtake the answer.
So we end our half, read and drop what comes for a moment, and close only then (RFC 9112, section 9.6).
"""

import asyncio
import ipaddress
from collections import Counter
from typing import ClassVar, Final, cast

import msgspec
from msgspec import Struct
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from crossdock.core.errors import Code
from crossdock.http.body import ARRIVED
from crossdock.http.one_write import OneWrite
from crossdock.http.problems import MEDIA_TYPE, ProblemError, document


class Limits(Struct, frozen=True, kw_only=True):
    """What one connection, and all of one address, may take.

    Durations are seconds. ``loopback_connections`` is larger than ``connections``, as a reverse proxy on this machine
    shows all its clients as one address. ``linger_seconds`` is how long what a client still sends is read and dropped
    after it was hung up on.
    """

    header_seconds: float = 10.0
    linger_seconds: float = 2.0
    header_bytes: int = 64 * 1024
    idle_seconds: int = 75
    connections: int = 100
    loopback_connections: int = 2000


class GuardedConnection(HttpToolsProtocol):
    """One connection. The class is made per server by :func:`connection_class`, which fills in the limits."""

    limits: ClassVar[Limits] = Limits()
    open: ClassVar[Counter[str]] = Counter()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timer: asyncio.TimerHandle | None = None
        self._header_size = 0
        self._begun = False
        self._address = ""
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; refuse it if its address has too many."""
        super().connection_made(transport)
        self._address = address_group(self.client[0]) if self.client else ""
        self.open[self._address] += 1
        most = self.limits.loopback_connections if self._address == "loopback" else self.limits.connections
        if self.open[self._address] > most:
            self._refuse(ProblemError(Code.UNAVAILABLE, "too many connections from this address", status=429))
            self.transport.close()  # its own limit must not be a way to hold more connections
        else:
            self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._header_arrived()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self.open[self._address] -= 1
        if self.open[self._address] <= 0:
            del self.open[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, watching how long and how large a header grows; drop what comes after the last answer."""
        if self._linger_timer is not None:
            return
        self._header_size = self._header_size + len(data) if self._begun else len(data)
        super().data_received(data)
        if self._begun and self._header_size > self.limits.header_bytes and not self.transport.is_closing():
            self._refuse(ProblemError(Code.TOO_LARGE, "the request's header is too large", status=431))
        # Only now: most headers come in one piece, and need no watch.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._header_timer is None and (cycle is None or cycle.response_complete):
            self._await_header()

    def on_message_begin(self) -> None:
        """Note that a header has begun."""
        super().on_message_begin()
        self._begun = True

    def on_headers_complete(self) -> None:
        """End the watch over the header; let head and body of the answer leave together."""
        self._begun = False
        self._header_arrived()
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", OneWrite(self.transport, self.loop, self._hang_up))

    def on_message_complete(self) -> None:
        """Tell the application, which begins in the loop's next turn, that it need not wait for the body."""
        cast("dict[str, object]", self.scope)[ARRIVED] = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, unless the connection is ending."""
        if self._linger_timer is None:
            super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP."""
        self._refuse(ProblemError(Code.INVALID, msg))

    def _await_header(self) -> None:
        self._header_timer = self.loop.call_later(self.limits.header_seconds, self._header_late)

    def _header_arrived(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_late(self) -> None:
        self._header_timer = None
        if self.transport.is_closing() or self._linger_timer is not None:
            return
        if self._begun:
            self._refuse(ProblemError(Code.UNAVAILABLE, "the request's header came too slowly", status=408))
        else:
            # An answer that nobody asked for could be taken for that of the next request.
            self.transport.close()

    def _refuse(self, problem: ProblemError) -> None:
        body = msgspec.json.encode(document(problem))
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[problem.status] + head.encode("ascii") + body)
        self._linger()

    def _hang_up(self) -> None:
        """Close after an answer: at once if the request had arrived, else when the client has had time to read."""
        if cast("dict[str, object]", self.scope).get(ARRIVED):
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        if self._linger_timer is not None:
            return
        if not self.transport.can_write_eof():  # TLS ends both halves at once
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._linger_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.close)


def connection_class(limits: Limits) -> type[GuardedConnection]:
    """Return the connection class of one server."""
    members: dict[str, object] = {"limits": limits, "open": Counter[str]()}
    return cast("type[GuardedConnection]", type("Connection", (GuardedConnection,), members))


_IPV6_HOST_BITS: Final = 64


def address_group(host: str) -> str:
    """Return what is counted as one sender: an IPv4 address, the /64 network of an IPv6 one, or ``loopback``."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if isinstance(address, ipaddress.IPv6Address):
        return f"{ipaddress.IPv6Address(int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)}/64"
    return str(address)


__all__ = ["GuardedConnection", "Limits", "address_group", "connection_class"]
