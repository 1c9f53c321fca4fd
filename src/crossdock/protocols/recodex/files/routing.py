"""What the routes of the file server share: who may come in, methods, answers, and checksums of what passes by."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.core.ports import Artifacts
from crossdock.http.problems import ProblemError

ZIP: Final = "application/zip"
BYTES: Final = "application/octet-stream"
_JSON: Final = "application/json"

Handler = Callable[[Request], Awaitable[Response]]

_encode: Final = msgspec.json.Encoder().encode


class Door:
    """Basic authentication; with neither name nor password everybody may come in."""

    def __init__(self, username: str = "", password: str = "") -> None:
        self._pair = f"{username}:{password}".encode() if username or password else None

    def permit(self, request: Request) -> None:
        """Refuse a request without the right name and password.

        Raises:
            ProblemError: ``unauthorized``.
        """
        if self._pair is None or hmac.compare_digest(_given(request.headers.get("authorization", "")), self._pair):
            return
        headers = {"www-authenticate": 'Basic realm="files", charset="UTF-8"'}
        raise ProblemError(Code.UNAUTHORIZED, "the file server needs its name and password", headers=headers)


class Resource:
    """An ASGI application for one path: a handler per method, behind a door."""

    def __init__(self, handlers: Mapping[str, Handler], door: Door) -> None:
        self._handlers = handlers
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whoever may not come in learns nothing, and none of what they send is read."""
        request = Request(scope, receive)
        self._door.permit(request)
        handler = self._handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            text = f"{request.method} is not possible here; possible are {allowed}"
            raise ProblemError(Code.INVALID, text, status=405, headers={"allow": allowed})
        response = await handler(request)
        await response(scope, receive, send)


class Sha1:
    """The SHA-1 of bytes that pass by: a name here, not a protection."""

    def __init__(self) -> None:
        self._hash = hashlib.sha1(usedforsecurity=False)

    async def through(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass content on."""
        async for piece in content:
            self._hash.update(piece)
            yield piece

    def digest(self) -> str:
        """Return it in hexadecimal digits."""
        return self._hash.hexdigest()


def route(path: str, handlers: Mapping[str, Handler], door: Door) -> BaseRoute:
    """Return a route. As it is an ASGI application, not a function, Starlette leaves the methods to it."""
    return Route(path, Resource(handlers, door), include_in_schema=False)


async def download(artifacts: Artifacts, ref: ArtifactRef) -> Response:
    """Return the answer that streams an artifact.

    Raises:
        CrossdockError: ``not_found`` if its bytes are gone.
    """
    content = artifacts.read(ref)
    # The first piece is read before the answer begins, so that missing bytes are a 404 and not a broken answer.
    first = await anext(content, b"")

    async def stream() -> AsyncIterator[bytes]:
        yield first
        async for piece in content:
            yield piece

    headers = {"content-length": str(ref.size), "content-disposition": "attachment"}
    return StreamingResponse(stream(), headers=headers, media_type=ref.media_type)


def missing() -> CrossdockError:
    """Return the error for a name that stands for nothing."""
    return CrossdockError(Code.NOT_FOUND, "there is no such file here, or not any more")


def document(value: object) -> Response:
    """Return a JSON answer."""
    return Response(_encode(value), media_type=_JSON)


def envelope() -> Response:
    """Return the answer of today's web application to a file that was taken."""
    return document({"success": True, "code": 200, "payload": "OK"})


def plain() -> Response:
    """Return the answer of the old file server to a file that was taken."""
    return document({"result": "OK"})


def _given(authorization: str) -> bytes:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
