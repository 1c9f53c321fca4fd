"""Large data that an answer names by a URL, fetched into the artifacts: streamed, bounded, and only from where we may go."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import httpx

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.core.ports import Artifacts
from crossdock.http.egress import Egress
from crossdock.protocols.jsonbus.result_reference import Reference, check_reference, too_large

_CONNECT: Final = 5.0
_SILENCE: Final = 30.0
_WHOLE: Final = 600.0
"""Seconds until connected, without a byte, and in all."""
_SHOWN: Final = 300


class Collector:
    """Fetches what references name.

    Args:
        artifacts: where it comes to rest.
        egress: where requests may lead.
        largest: bytes that it may have.
    """

    def __init__(self, artifacts: Artifacts, egress: Egress, largest: int) -> None:
        self._artifacts = artifacts
        self._egress = egress
        self._largest = largest
        self._client: httpx.AsyncClient | None = None

    async def fetch(self, reference: Reference) -> ArtifactRef:
        """Return where the data are now.

        Raises:
            CrossdockError: ``too_large``; ``invalid`` for a URL that may not be requested; ``unavailable`` if the data
                cannot be had from there now.
        """
        check_reference(reference, self._largest)
        url = reference.result_ref
        shown = url.partition("?")[0][:_SHOWN]
        try:
            target = await self._egress.judge(url)
            async with (
                asyncio.timeout(_WHOLE),
                self._http().stream(
                    "GET",
                    target.url,
                    headers={"host": target.host, "accept-encoding": "identity", "user-agent": "crossdock"},
                    extensions={"sni_hostname": target.name},
                ) as response,
            ):
                if response.status_code != HTTPStatus.OK:
                    raise CrossdockError(Code.UNAVAILABLE, f"{shown}: the server answers {response.status_code}")
                ref = await self._artifacts.put(self._pieces(response, shown))
        except TimeoutError:
            raise CrossdockError(Code.UNAVAILABLE, f"{shown} takes too long") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CrossdockError(Code.UNAVAILABLE, f"{shown}: {type(error).__name__} {error}") from error
        if ref.size != reference.size:
            text = f"{shown} has {ref.size:,} bytes, and the answer said {reference.size:,}"
            raise CrossdockError(Code.UNAVAILABLE, text)
        return ref

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            timeout = httpx.Timeout(_SILENCE, connect=_CONNECT)
            self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout)
        return self._client

    async def _pieces(self, response: httpx.Response, shown: str) -> AsyncIterator[bytes]:
        # Undone compression would be in memory before it could be counted.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise CrossdockError(Code.UNAVAILABLE, f"{shown}: the server compresses, which was not asked for")
        received = 0
        async for piece in response.aiter_raw():
            received += len(piece)
            if received > self._largest:
                raise too_large(self._largest)
            yield piece
