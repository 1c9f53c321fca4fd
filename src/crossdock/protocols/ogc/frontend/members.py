"""The members of an array, as a stream of lines or one listing."""

import sys
from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crossdock.core.broker import Broker
from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import MemberId, encode_member
from crossdock.core.jobs import Job
from crossdock.http.auth import Scope
from crossdock.protocols.ogc import documents
from crossdock.protocols.ogc.frontend.door import Door
from crossdock.protocols.ogc.messages import MemberInfo
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["jobs"])

NDJSON: Final = "application/x-ndjson"
_BATCH: Final = 64 * 1024
_HEAD: Final = b'{"members":['


@router.get("/jobs/{job_id}/members", **described("Members of an array", answers={200: "the members"}, errors=(400, 404)))
async def job_members(
    request: Request,
    job_id: str,
    state: Annotated[Literal["succeeded", "failed", "cancelled"] | None, Query()] = None,
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """List the finished members of an array in order of position, optionally those in one state only.

    The answer is one JSON document, or a line per member with ``Accept: application/x-ndjson``. ``limit`` cuts a page;
    the next one has the ``start`` after the last position of this one.
    """
    door = Door.of(request)
    caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    job = await door.whole_job(caller, job_id)
    if job.array is None:
        raise CrossdockError(Code.INVALID, f"job {job_id[:40]} is not an array: it has no members")
    lines = member_lines(door.broker, job, state=state, start=start, limit=limit)
    if wants_lines(request):
        return StreamingResponse(lines, media_type=NDJSON)
    return StreamingResponse(_document(lines), media_type=documents.JSON)


def wants_lines(request: Request) -> bool:
    """Tell whether a client asks for a line per member."""
    return NDJSON in request.headers.get("accept", "")


async def member_lines(
    broker: Broker, job: Job, *, state: str | None = None, results: bool = False, start: int = 0, limit: int | None = None
) -> AsyncIterator[bytes]:
    """Yield the finished members of an array, many lines at a time, with their results if asked."""
    encoder = msgspec.json.Encoder()
    buffer = bytearray()
    left = sys.maxsize if limit is None else limit
    async for member in broker.intake.members(job.id, state, start):
        left -= 1
        result = None if not results or member.result is None else Raw(await load(broker.artifacts, member.result))
        line = MemberInfo(
            index=member.index,
            job_id=encode_member(MemberId(job.id, member.index)),
            status=documents.STATUS[member.state],
            attempt=member.attempt,
            result=result,
            code=member.code,
            message=member.message,
        )
        buffer += encoder.encode(line) + b"\n"
        if not left:
            break
        if len(buffer) > _BATCH:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


async def _document(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield _HEAD
    first = True
    async for chunk in lines:
        listed = chunk.rstrip(b"\n").replace(b"\n", b",")
        if listed:
            yield listed if first else b"," + listed
            first = False
    yield b"]}"
