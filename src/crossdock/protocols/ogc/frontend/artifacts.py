"""Artifacts: large payloads and results, for workers elsewhere and for clients whose payload names one.

Whoever knows a digest knows the bytes, or was told it by somebody who does, so a digest is all that reading asks for.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.http.auth import Scope
from crossdock.http.body import stream_body
from crossdock.http.problems import ProblemError
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["workers"])

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?", re.ASCII)


@router.get(
    "/artifacts/{digest}",
    **described("Bytes at rest", answers={200: "the bytes", 206: "some of them"}, errors=(400, 403, 404, 416)),
)
async def read_artifact(request: Request, digest: str, size: Annotated[int, Query(ge=0, lt=1 << 53)]) -> Response:
    """Stream an artifact, or the part that a ``Range`` header asks for. ``size`` is that of the reference."""
    door = Door.of(request)
    door.caller(request, Scope.WORK, Scope.READ_OWN, Scope.READ_ALL)
    ref = ArtifactRef(_digest(digest), size)
    start, end, status = _range(request.headers.get("range"), size)
    headers = {"content-length": str(end - start), "content-disposition": "attachment", "accept-ranges": "bytes"}
    if status == 206:  # noqa: PLR2004 - HTTP
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    content = door.broker.artifacts.read(ref, start, end)
    try:
        # The first chunk is read before the answer begins, so that a missing artifact is a 404 and not a broken answer.
        first = await anext(content, b"")
    except OSError as error:
        raise CrossdockError(Code.INTERNAL, f"the artifact {digest} cannot be read") from error

    async def stream() -> AsyncIterator[bytes]:
        yield first
        async for chunk in content:
            yield chunk

    return StreamingResponse(stream(), status, headers, media_type="application/octet-stream")


@router.post("/artifacts", **described("Store bytes", answers={201: ArtifactRef}, errors=(403, 408, 413)))
async def store_artifact(request: Request) -> Response:
    """Store the body; the answer is the reference to it."""
    return answer(await _store(request), 201)


@router.put("/artifacts/{digest}", **described("Store bytes", answers={201: ArtifactRef}, errors=(400, 403, 408, 413)))
async def store_known_artifact(request: Request, digest: str) -> Response:
    """Store the body, whose SHA-256 digest is said to be this one; anything else is refused."""
    _digest(digest)
    ref = await _store(request)
    if ref.digest != digest:
        # What came stays until a sweep finds that nothing refers to it.
        raise CrossdockError(Code.INVALID, f"the bytes that came have the digest {ref.digest}, not {digest}")
    return answer(ref, 201)


async def _store(request: Request) -> ArtifactRef:
    door = Door.of(request)
    door.caller(request, Scope.WORK, Scope.SUBMIT)
    media_type = request.headers.get("content-type", "application/octet-stream")
    return await door.broker.artifacts.put(stream_body(request, door.options.artifact_limit), media_type)


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise CrossdockError(Code.NOT_FOUND, f"there is no artifact {text[:80]!r}: a digest has 64 hexadecimal digits")
    return text


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    if header is None:
        return 0, size, 200
    match = _RANGE.fullmatch(header)
    start = int(match[1]) if match else size
    end = min(int(match[2]) + 1, size) if match and match[2] else size
    if start >= end:
        message = f"the range {header[:60]!r} is not within the artifact's {size} bytes"
        raise ProblemError(Code.INVALID, message, status=416, headers={"content-range": f"bytes */{size}"})
    return start, end, 206
