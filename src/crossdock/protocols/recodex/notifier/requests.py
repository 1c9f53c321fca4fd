"""The requests of the notifier: calls of the web application, and results that are put to the URLs clients named."""

from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import quote, urlencode

import httpx
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Document
from crossdock.core.ports import Artifacts
from crossdock.http.egress import Egress, within

_FORM: Final = "application/x-www-form-urlencoded"
_WORTH_ANOTHER_TRY: Final = frozenset({401, 403, 408, 425, 429})
"""Answers from 400 to 499 that may be others tomorrow."""


class Trouble(Struct, frozen=True):
    """Why a request came to nothing. ``final`` says that the same request will hardly do better later."""

    reason: str
    final: bool = False


class Requests:
    """Sends requests; what goes wrong is an answer here, not an error.

    Args:
        client: does not follow redirects: a POST would become a GET.
        url: the base address of the web application's calls.
        auth: name and password for it, None for none.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, auth: tuple[str, str] | None) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._auth = None if auth is None else httpx.BasicAuth(*auth)

    async def call(self, path: str, fields: Mapping[str, str]) -> Trouble | None:
        """Call the web application with a form; ``path`` is below its base address."""
        body = urlencode(sorted(fields.items()), errors="replace").encode()
        request = self._client.build_request("POST", f"{self._url}/{path}", content=body, headers={"content-type": _FORM})
        return await self._send(request, self._auth)

    async def put(
        self, url: str, result: Document | None, artifacts: Artifacts, egress: Egress, known: Mapping[str, tuple[str, str]]
    ) -> Trouble | None:
        """Put a result (JSON) to a URL that a client named, if requests may lead there.

        ``known`` are names and passwords by the beginning of the URLs they are for.
        """
        try:
            target = await egress.judge(url)
        except CrossdockError as error:
            return Trouble(error.message, final=error.code is Code.INVALID)
        except ValueError as error:
            return Trouble(f"{url[:200]!r} is no URL: {error}", final=True)
        auth = next((httpx.BasicAuth(*pair) for prefix, pair in known.items() if within(url, prefix)), None)
        content, size = _content(result, artifacts)
        headers = {"host": target.host, "content-type": "application/json", "content-length": str(size)}
        request = self._client.build_request(
            "PUT", target.url, headers=headers, content=content, extensions={"sni_hostname": target.name}
        )
        return await self._send(request, auth)

    async def _send(self, request: httpx.Request, auth: httpx.BasicAuth | None) -> Trouble | None:
        try:
            # The body of the answer is of no interest, and may be endless.
            response = await self._client.send(request, auth=auth, stream=True)
            await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, CrossdockError, OSError) as error:
            return Trouble(f"{type(error).__name__}: {error}")
        if response.is_success:
            return None
        final = response.is_client_error and response.status_code not in _WORTH_ANOTHER_TRY
        return Trouble(f"the answer was {response.status_code}", final)


def segment(text: str) -> str:
    """Return any text as one segment of a URL's path."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in {".", ".."} else quoted


def _content(result: Document | None, artifacts: Artifacts) -> tuple[bytes | AsyncIterator[bytes], int]:
    if result is None:
        return b"null", 4
    if isinstance(result, bytes):
        return result, len(result)
    return artifacts.read(result), result.size
