"""Results that are too large for a message: URLs by which whoever has them fetches a result, and the route behind them.

A URL names the job and when it expires, and is signed (HMAC-SHA-256) with a secret that is made once and kept in the store:
URLs go on working after a restart, and nobody can make one up. No API key is needed, as a URL is a right by itself: it is
only told to those who got the answer.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Job
from crossdock.core.lifecycle import State
from crossdock.core.lookup import find_job
from crossdock.core.requests import Record
from crossdock.http.problems import ProblemError

PATH: Final = "/jsonbus/results/"

_SECRET: Final = ("jsonbus.secret", "results")
_BYTES: Final = 32
_NUMBER: Final = 8
_JSON: Final = "application/json"


class Ticket(Struct, frozen=True):
    """What a URL says: whose result, and until when (whole seconds since 1970)."""

    job: int
    expires: int


class References:
    """Makes URLs of results, and answers them.

    Args:
        broker: has the results.
        keep: seconds after the end of a job that a URL works.
        base_url: the server's address as clients see it. It may be set later: with port 0 it is known once the server
            listens. Without one only paths are made.
    """

    def __init__(self, broker: Broker, keep: float, base_url: str = "") -> None:
        self.base_url = base_url
        self._broker = broker
        self._keep = keep
        self._secret = b""

    async def start(self) -> None:
        """Read the secret, or make it at the first start."""
        record = await self._broker.records.get(*_SECRET)
        if record is None:
            record = Record(*_SECRET, secrets.token_bytes(_BYTES))
            await self._broker.records.put([record])
        self._secret = record.value

    def url(self, job: Job) -> str:
        """Return where the result of an ended job can be fetched for a while."""
        ends = (job.finished or self._broker.clock.wall()) + self._keep
        return f"{self.base_url.rstrip('/')}{PATH}{seal(Ticket(job.id, int(ends)), self._secret)}"

    def routes(self) -> list[BaseRoute]:
        """Return the routes, for any Starlette or FastAPI application that shows problem documents."""
        return [Route(PATH + "{token}", self._get, methods=["GET"])]

    async def _get(self, request: Request) -> Response:
        """Stream a result."""
        ticket = unseal(request.path_params["token"], self._secret)
        if ticket is None:
            message = "this URL of a result is not one that was made here; take it from the answer as it is"
            raise ProblemError(Code.UNAUTHORIZED, message, status=HTTPStatus.FORBIDDEN)
        job = None if ticket.expires <= self._broker.clock.wall() else await find_job(self._broker.intake, ticket.job)
        if job is None or job.state is not State.SUCCEEDED:
            raise _gone("the time of this result is over; send the request again")
        if isinstance(job.result, ArtifactRef):
            return await self._stream(job.result)
        return Response(job.result or b"null", headers=_headers(), media_type=_JSON)

    async def _stream(self, result: ArtifactRef) -> Response:
        content = self._broker.artifacts.read(result)
        try:
            first = await anext(content, b"")  # once the answer has begun, nothing can be said any more
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            raise _gone("the file of this result is not there any more; send the request again") from None
        headers = _headers() | {"content-length": str(result.size)}
        return StreamingResponse(_after(first, content), headers=headers, media_type=_JSON)


def seal(ticket: Ticket, secret: bytes) -> str:
    """Return a ticket as signed text that can stand in a URL."""
    content = ticket.job.to_bytes(_NUMBER, "big") + ticket.expires.to_bytes(_NUMBER, "big")
    return urlsafe_b64encode(content + _signature(content, secret)).decode().rstrip("=")


def unseal(token: str, secret: bytes) -> Ticket | None:
    """Return the ticket in a text, None if it was not sealed with this secret."""
    try:
        text = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (UnicodeEncodeError, Error):
        return None
    content, signature = text[: 2 * _NUMBER], text[2 * _NUMBER :]
    if not secret or not hmac.compare_digest(signature, _signature(content, secret)):
        return None
    return Ticket(int.from_bytes(content[:_NUMBER], "big"), int.from_bytes(content[_NUMBER:], "big"))


def _signature(content: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, b"jsonbus result\0" + content, "sha256")


def _headers() -> dict[str, str]:
    return {"cache-control": "private, max-age=3600", "x-content-type-options": "nosniff"}


def _gone(message: str) -> ProblemError:
    return ProblemError(Code.NOT_FOUND, message, status=HTTPStatus.GONE)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
