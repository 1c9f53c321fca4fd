"""Reading request bodies: never more than a limit, never from a sender that keeps us waiting."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import ProblemError
from crossdock.http.strict_json import parse

PATIENCE: Final = 10.0
"""Seconds before the pace of a sender matters."""

PACE: Final = 1024
"""Bytes a second that a sender has to reach after that."""

DEFAULT_LIMIT: Final = 32 * 1024 * 1024

ARRIVED: Final = "crossdock.arrived"
"""Set by our server in the scope of a request whose whole body is there, so that nobody has to watch a clock over it."""


async def read_body(request: Request, limit: int = DEFAULT_LIMIT, *, patience: float = PATIENCE) -> bytes:
    """Return the whole body of a request.

    Args:
        request: the request; its body must not have been read before.
        limit: bytes.
        patience: seconds before the sender's pace is judged.

    Raises:
        CrossdockError: as :func:`stream_body`.
    """
    if ARRIVED in request.scope:
        _check_headers(request, limit)
        return _chunk(await request.receive(), 0, limit)
    chunks = [chunk async for chunk in stream_body(request, limit, patience=patience)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def stream_body(
    request: Request, limit: int = DEFAULT_LIMIT, *, patience: float = PATIENCE
) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request as it comes.

    Raises:
        CrossdockError: ``too_large`` beyond the limit, ``unavailable`` (408) for a slow sender, ``invalid`` (415) for
            a compressed body.
        ClientDisconnect: if the sender goes away.
    """
    _check_headers(request, limit)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    size = 0
    more = True
    while more:
        try:
            async with asyncio.timeout_at(deadline + size / PACE):
                message = await request.receive()
        except TimeoutError:
            raise _too_slow() from None
        chunk = _chunk(message, size, limit)
        size += len(chunk)
        more = message.get("more_body", False)
        yield chunk


async def read_json(request: Request, limit: int = DEFAULT_LIMIT) -> tuple[bytes, object]:
    """Return a JSON body as text and as value.

    Raises:
        CrossdockError: as :func:`read_body`, and ``invalid`` if it is not declared as JSON (415) or is not JSON.
    """
    require_json(request)
    text = await read_body(request, limit)
    return text, await parse(text)


def require_json(request: Request) -> None:
    """Refuse bodies that are not declared as JSON, so that no web page can post a form to us in a user's name."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return
    raise ProblemError(Code.INVALID, "the body must be JSON: send it with Content-Type: application/json", status=415)


def _check_headers(request: Request, limit: int) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(Code.INVALID, "compressed bodies are not supported: send it as it is", status=415)
    length = request.headers.get("content-length")
    if length is not None and length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)


def _chunk(message: Message, size: int, limit: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    chunk: bytes = message.get("body", b"")
    if size + len(chunk) > limit:
        raise _too_large(limit)
    return chunk


def _too_large(limit: int) -> CrossdockError:
    return CrossdockError(Code.TOO_LARGE, f"the body is larger than the {limit} bytes that are accepted here")


def _too_slow() -> CrossdockError:
    return ProblemError(
        Code.UNAVAILABLE,
        f"the body came too slowly: at least {PACE} bytes a second are expected",
        status=408,
        headers={"connection": "close"},
    )
