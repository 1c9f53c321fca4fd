"""A job's log as server-sent events, from any point on."""

from collections.abc import AsyncIterator

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from crossdock.core.jobs import Job
from crossdock.core.requests import Entry
from crossdock.http.attention import attend
from crossdock.http.auth import Scope
from crossdock.protocols.ogc.codec import invalid
from crossdock.protocols.ogc.documents import log_entry
from crossdock.protocols.ogc.frontend.door import Door
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["jobs"])

_HEARTBEAT = b": still here\n\n"
_PAGE = 500
_DIGITS = 15


@router.get(
    "/jobs/{job_id}/events",
    **described("Log of a job, live", answers={200: "server-sent events", 204: "nothing more"}, errors=(400, 404)),
)
async def job_events(request: Request, job_id: str) -> Response:
    """Stream a job's log as server-sent events until the job has ended.

    An event's id is its offset in the log: a client that comes back with ``Last-Event-ID`` goes on after it. When there is
    nothing after it and the job has ended, the answer is 204, which ends a browser's reconnecting.
    """
    door = Door.of(request)
    caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    job = await door.whole_job(caller, job_id)
    start = _start(request.headers.get("last-event-id"))
    if job.terminal and not await door.broker.intake.entries(job.id, start, 1):
        return Response(status_code=204)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_stream(door, request, job, start), headers=headers, media_type="text/event-stream")


async def _stream(door: Door, request: Request, job: Job, start: int) -> AsyncIterator[bytes]:
    intake = door.broker.intake
    heartbeat = door.options.heartbeat_seconds
    while True:
        entries = await intake.entries(job.id, start, _PAGE)
        if entries:
            start = entries[-1].offset + 1
            yield b"".join(_event(entry) for entry in entries)
        elif job.terminal:
            return
        else:
            # The log is read again after every wait: a job that ends in between has its last entries there by then.
            seen = await attend(request, intake.changed(job.id, start, heartbeat))
            if seen is None:
                return
            if seen.events <= start and not seen.terminal:
                yield _HEARTBEAT
            job = seen


def _event(entry: Entry) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        entry.offset,
        entry.event.encode("ascii"),
        msgspec.json.encode(log_entry(entry)),
    )


def _start(last: str | None) -> int:
    if last is None or last == "":
        return 0
    if not last.isascii() or not last.isdigit() or len(last) > _DIGITS:
        raise invalid("Last-Event-ID must be the id of an event of this job")
    return int(last) + 1
