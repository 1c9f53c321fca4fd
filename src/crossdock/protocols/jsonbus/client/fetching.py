"""Large data of answers, fetched into memory from where they lie.

The client trusts its node. What one node asks another for goes into the artifacts instead, and only comes from where it may:
see :mod:`~crossdock.protocols.jsonbus.collecting`.
"""

from http import HTTPStatus
from typing import Final

import httpx

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import read_problem
from crossdock.protocols.jsonbus.result_reference import Reference, check_reference, too_large

_TIMEOUT: Final = 60.0
"""Seconds without a byte."""


class Fetcher:
    """Fetches data over HTTP.

    Args:
        largest: bytes that they may have.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._http: httpx.AsyncClient | None = None

    async def fetch(self, reference: Reference) -> bytes:
        """Return the data.

        Raises:
            CrossdockError: ``too_large``, ``unavailable``, ``internal`` if they are not what the answer said, or what the
                server says.
        """
        check_reference(reference, self._largest)
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_TIMEOUT)
        try:
            async with self._http.stream("GET", reference.result_ref) as response:
                if response.status_code != HTTPStatus.OK:
                    raise read_problem(response.status_code, await response.aread())
                data = await self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            host = reference.result_ref.split("?")[0]
            raise CrossdockError(Code.UNAVAILABLE, f"{host} cannot be fetched: {error or type(error).__name__}") from error
        if len(data) != reference.size:
            text = f"the data have {len(data):,} bytes, and the answer said {reference.size:,}"
            raise CrossdockError(Code.INTERNAL, text)
        return data

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > self._largest:
                raise too_large(self._largest)
        return bytes(data)
