"""Getting files from servers that job configurations name, and putting results there."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import BinaryIO, Final, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from crossdock.core.errors import CrossdockError
from crossdock.http.egress import Egress, Target, within
from crossdock.runners.program.settings import FileManager

_REDIRECTS: Final = 5
_CHUNK: Final = 256 * 1024
_CONNECT: Final = 10.0
_SILENCE: Final = 60.0
_WHOLE: Final = 900.0
"""Seconds for a connection, between two pieces, and for a whole file."""


class TransferError(Exception):
    """A file could not be fetched or put. The text is for people and holds no credentials."""


class Fetcher(Protocol):
    """Moves files over a network."""

    async def get(self, url: str, target: BinaryIO, limit: int) -> None:
        """Write what is at ``url`` to a file, at most ``limit`` bytes. Raises :class:`TransferError`."""
        ...

    async def put(self, url: str, source: BinaryIO) -> None:
        """Put a file to ``url``. Raises :class:`TransferError`."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class HttpFetcher:
    """Moves files over HTTP.

    The URLs of file managers are always allowed and get their credentials, unasked; of several, the first counts. Redirects
    of GET are followed, each judged like the first URL; those of PUT are not. Proxies of the environment are not used.

    Args:
        file_managers: servers that are known.
        allow: beginnings of other URLs that may lead to private addresses.
        private: whether all URLs may.
    """

    def __init__(
        self, file_managers: Sequence[FileManager] = (), allow: Sequence[str] = (), *, private: bool = False
    ) -> None:
        self._managers = tuple(file_managers)
        self._egress = Egress((*(manager.prefix for manager in file_managers), *allow), private=private)
        timeout = httpx.Timeout(_SILENCE, connect=_CONNECT)
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout)

    async def get(self, url: str, target: BinaryIO, limit: int) -> None:
        """Write what is at ``url`` to a file, at most ``limit`` bytes. Raises :class:`TransferError`."""
        await self._exchange("GET", url, target, limit)

    async def put(self, url: str, source: BinaryIO) -> None:
        """Put a file to ``url``. Raises :class:`TransferError`."""
        await self._exchange("PUT", url, source, 0)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _exchange(self, method: str, url: str, file: BinaryIO, limit: int) -> None:
        try:
            async with asyncio.timeout(_WHOLE):
                for _ in range(_REDIRECTS + 1):
                    following = await self._request(method, url, file, limit)
                    if following is None:
                        return
                    url = following
        except TimeoutError:
            raise TransferError(f"{_shown(url)} takes too long") from None
        except CrossdockError as error:
            raise TransferError(f"{_shown(url)}: {error.message}") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise TransferError(f"{_shown(url)}: {type(error).__name__} {error}") from error
        raise TransferError(f"{_shown(url)} leads to too many other places")

    async def _request(self, method: str, url: str, file: BinaryIO, limit: int) -> str | None:
        """Do one exchange; return where it is to be repeated, if anywhere."""
        target = await self._egress.judge(url)
        async with self._client.stream(
            method,
            target.url,
            headers=_headers(target, method, file),
            content=_content(file) if method == "PUT" else None,
            auth=self._credentials(url),
            extensions={"sni_hostname": target.name},
        ) as response:
            if response.has_redirect_location and method == "GET":
                return urljoin(url, response.headers["location"])
            if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
                raise TransferError(f"{_shown(url)}: the server answers {response.status_code}")
            if method == "GET":
                await _receive(response, url, file, limit)
        return None

    def _credentials(self, url: str) -> httpx.BasicAuth | None:
        for manager in self._managers:
            if within(url, manager.prefix):
                known = manager.username or manager.password
                return httpx.BasicAuth(manager.username, manager.password) if known else None
        return None


async def _receive(response: httpx.Response, url: str, file: BinaryIO, limit: int) -> None:
    # Undone compression would be in memory before it could be counted: 500 bytes can become 600 MB.
    if (encoding := response.headers.get("content-encoding", "")).lower() not in {"", "identity"}:
        raise TransferError(f"{_shown(url)}: the server compresses ({encoding[:40]!r}), which was not asked for")
    received = 0
    async for piece in response.aiter_raw(_CHUNK):
        received += len(piece)
        if received > limit:
            raise TransferError(f"{_shown(url)} has more than {limit} bytes")
        file.write(piece)


def _headers(target: Target, method: str, file: BinaryIO) -> dict[str, str]:
    headers = {"host": target.host, "accept": "*/*", "accept-encoding": "identity", "user-agent": "crossdock"}
    if method == "PUT":
        headers["content-length"] = str(os.fstat(file.fileno()).st_size)
    return headers


async def _content(file: BinaryIO) -> AsyncIterator[bytes]:
    file.seek(0)
    while piece := file.read(_CHUNK):
        yield piece


def _shown(url: str) -> str:
    """Return a URL for people, without credentials and query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()[:300]
