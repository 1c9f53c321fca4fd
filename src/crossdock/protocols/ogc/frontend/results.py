"""Results of jobs, of arrays and of their members: streamed, never whole in memory."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crossdock.core.broker import Broker
from crossdock.core.errors import Code
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArtifactRef, Document, Job, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.ports import Artifacts
from crossdock.core.requests import MemberView
from crossdock.http.auth import Scope
from crossdock.http.problems import RESULT_NOT_READY, ProblemError
from crossdock.protocols.ogc import documents
from crossdock.protocols.ogc.frontend.door import Door
from crossdock.protocols.ogc.frontend.members import NDJSON, member_lines, wants_lines
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["jobs"])

_HEAD: Final = b'{"result":'
_TAIL: Final = b"}"
_CHUNK: Final = 64 * 1024
_STATUS: Final = re.compile(r"[45]\d\d", re.ASCII)


@router.get(
    "/jobs/{job_id}/results",
    **described("Results of a job", answers={200: "a document with the member result"}, errors=(404, 410, 500)),
)
async def job_results(request: Request, job_id: str) -> Response:
    """Return what a job gave: a document with the member ``result``.

    Of an array that is the list of its members' results in order of position; with ``Accept: application/x-ndjson`` each
    finished member is a line, failed ones included, also while the array runs.
    """
    door = Door.of(request)
    caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    job, position = await door.job(caller, job_id)
    if position is not None:
        return await _member_results(door, job, position)
    if job.array is not None and wants_lines(request):
        return StreamingResponse(member_lines(door.broker, job, results=True), media_type=NDJSON)
    return await results_of(door.broker, job)


async def results_of(broker: Broker, job: Job, *, raw: bool = False) -> Response:
    """Return the results of a job as a document, or only the value if ``raw``.

    Raises:
        ProblemError: if it has not ended (404), or has failed or was cancelled.
    """
    if job.state is not State.SUCCEEDED:
        raise _problem(job.state, encode_id(job.id), job.code, job.message, job.outcome)
    return _respond(results_document(broker, job, raw=raw))


def results_document(broker: Broker, job: Job, *, raw: bool = False) -> bytes | AsyncIterator[bytes]:
    """Return the results document of a job that succeeded, or only the value if ``raw``: a stream unless it is small."""
    head, tail = (b"", b"") if raw else (_HEAD, _TAIL)
    if job.array is not None:
        return _array(broker, job, head, tail)
    return _enclosed(broker.artifacts, job.result, head, tail)


def _enclosed(artifacts: Artifacts, document: Document | None, head: bytes, tail: bytes) -> bytes | AsyncIterator[bytes]:
    if isinstance(document, ArtifactRef):
        return _between(artifacts.read(document), head, tail)
    return head + (document or b"null") + tail


async def _member_results(door: Door, job: Job, position: int) -> Response:
    member = await door.broker.intake.member(job.id, position)
    if member.state is not State.SUCCEEDED:
        raise _problem(member.state, f"{encode_id(job.id)}.{position}", member.code, member.message, None)
    return _respond(_enclosed(door.broker.artifacts, member.result, _HEAD, _TAIL))


def _respond(content: bytes | AsyncIterator[bytes]) -> Response:
    if isinstance(content, bytes):
        return Response(content, media_type=documents.JSON)
    return StreamingResponse(content, media_type=documents.JSON)


async def _array(broker: Broker, job: Job, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
    buffer = bytearray(head + b"[")
    position = 0
    async for member in broker.intake.members(job.id):
        # A member that gave nothing keeps its place, so that positions stay those of the request.
        missing = b"null," * (member.index - position)
        buffer += b"," + missing if position else missing
        position = member.index + 1
        if isinstance(member.result, ArtifactRef):
            yield bytes(buffer)
            buffer.clear()
            async for chunk in broker.artifacts.read(member.result):
                yield chunk
        else:
            buffer += _value(member)
        if len(buffer) > _CHUNK:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + b"]" + tail


def _value(member: MemberView) -> bytes:
    return member.result if member.state is State.SUCCEEDED and isinstance(member.result, bytes) else b"null"


def _problem(state: State, identifier: str, code: str, message: str, outcome: OutcomeKind | None) -> ProblemError:
    if state is State.CANCELLED:
        return ProblemError(Code.NOT_FOUND, f"job {identifier} was dismissed", status=HTTPStatus.GONE)
    if state is not State.FAILED:
        return ProblemError(
            Code.NOT_FOUND, f"job {identifier} has not ended yet", status=HTTPStatus.NOT_FOUND, type=RESULT_NOT_READY
        )
    # As LONGPOST does: a job that names an HTTP status as its code fails with that status.
    status = int(code) if _STATUS.fullmatch(code) else HTTPStatus.INTERNAL_SERVER_ERROR
    members = {"job": {"jobID": identifier, "code": code, "outcome": outcome or "failed"}}
    return ProblemError(Code.INTERNAL, message or "the job failed", status=status, type=_type(code), members=members)


def _type(code: str) -> str:
    return f"urn:crossdock:job-failed:{code}" if code else "urn:crossdock:job-failed"


async def _between(content: AsyncIterator[bytes], head: bytes, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    async for chunk in content:
        yield chunk
    yield tail
