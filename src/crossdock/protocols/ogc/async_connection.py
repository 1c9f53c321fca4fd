"""A server as asyncio programs talk to it: what the client and the worker's link share."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import httpx

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.http.closing import AsyncClosing
from crossdock.protocols.ogc import calls
from crossdock.protocols.ogc.calls import Call, EventReader
from crossdock.protocols.ogc.client import DEFAULT_URL, TIMEOUT
from crossdock.protocols.ogc.messages import LogEntry

Answer = TypeVar("Answer")


class AsyncConnection(AsyncClosing):
    """A server, and the way requests go to it and come back as values or errors.

    Args:
        url: the server's address.
        key: an API key, if it needs one.
        timeout: seconds to wait for an answer.
        connections: how many may be open at once, None for as many as there are requests.
    """

    def __init__(
        self, url: str = DEFAULT_URL, key: str | None = None, timeout: float = TIMEOUT, connections: int | None = 100
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=16, keepalive_expiry=30)
        try:
            self.http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, limits=limits)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise CrossdockError(Code.INVALID, f"{url!r} is no address of a server: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def send(self, call: Call[Answer]) -> Answer:
        """Send a request and return its answer.

        Raises:
            CrossdockError: what the server said, or ``unavailable`` if it cannot be reached.
        """
        response = await self.request(
            call.method, call.path, content=call.content(), headers=call.all_headers(), query=call.query
        )
        return call.read(response.status_code, response.content)

    async def upload(self, content: bytes, media_type: str = "application/octet-stream") -> ArtifactRef:
        """Store bytes for a job's payload to name; return the reference to them."""
        return await self.send(calls.upload(content, media_type))

    async def download(self, ref: ArtifactRef) -> bytes:
        """Return bytes that a job's result names."""
        return await self.send(calls.download(ref))

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        extra: float = 0.0,
    ) -> httpx.Response:
        """Send a request and return what came back, errors too; ``extra`` seconds are added to the time it may take.

        Raises:
            CrossdockError: ``unavailable`` if the server cannot be reached.
        """
        timeout = httpx.Timeout(self._timeout + extra)
        params = httpx.QueryParams(tuple(query)) if query else None
        try:
            return await self.http.request(method, path, content=content, headers=headers, params=params, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise calls.unreachable(self.url, error) from error

    async def stream(self, path: str, reader: EventReader) -> AsyncIterator[LogEntry]:
        """Yield events of one connection to an event stream until it ends or breaks.

        Raises:
            CrossdockError: what the server said.
            httpx.HTTPError: if the connection breaks.
        """
        timeout = httpx.Timeout(TIMEOUT, read=60.0)
        async with self.http.stream("GET", path, headers=reader.headers(), timeout=timeout) as response:
            if response.status_code == 204:  # noqa: PLR2004 - HTTP
                reader.ended = True
                return
            if response.is_error:
                calls.refuse(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                entry = reader.line(line)
                if entry is not None:
                    yield entry
