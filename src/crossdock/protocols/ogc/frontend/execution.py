"""Executing a process: at once, later, or first the one and then the other."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.http.attention import attend
from crossdock.http.auth import Scope
from crossdock.http.body import read_json
from crossdock.protocols.ogc.codec import decode, submit_of
from crossdock.protocols.ogc.documents import status_info
from crossdock.protocols.ogc.frontend.door import Door, answer, tenant_for
from crossdock.protocols.ogc.frontend.results import results_of
from crossdock.protocols.ogc.messages import Execute, StatusInfo
from crossdock.protocols.ogc.openapi import described
from crossdock.protocols.ogc.prefer import Preference, parse_prefer

router = APIRouter(tags=["processes"])


@router.post(
    "/processes/{process_id}/execution",
    **described(
        "Run a process",
        body=Execute,
        answers={200: "the results, if it was waited for", 201: StatusInfo},
        errors=(400, 403, 404, 413, 415),
    ),
)
async def execute(request: Request, process_id: str) -> Response:
    """Run a process.

    Without a ``Prefer`` header the answer waits for the result. ``Prefer: respond-async`` answers at once with the job's
    status, ``Prefer: wait=N`` after N seconds at most. The header ``Idempotency-Key`` makes repeating the request safe.
    """
    door = Door.of(request)
    caller = door.caller(request, Scope.SUBMIT)
    kind = door.kind(process_id)
    text, _ = await read_json(request, door.options.body_limit)
    message = decode(text, Execute)
    tenant = tenant_for(caller, message.crossdock.tenant)
    key = request.headers.get("idempotency-key")
    submit = await door.submit(caller, submit_of(message, kind, tenant=tenant, key=key))
    submitted = await door.broker.intake.submit(submit)
    preference = parse_prefer(request.headers.getlist("prefer"))
    if message.mode == "async":
        preference = Preference(respond_async=True, wait=preference.wait)
    seconds = _patience(preference, door.options.sync_seconds)
    job = submitted.job
    if seconds > 0 and not job.terminal:
        ended = await attend(request, door.broker.intake.wait(job.id, seconds))
        job = ended or await door.broker.intake.job(job.id)
    # With respond-async alone the client expects a status, even if the job (an old one of that key) has ended.
    if job.terminal and seconds > 0:
        return await _finished(door, job, door.base(request), raw=message.response == "raw")
    return _accepted(job, door.base(request), preference)


def _patience(preference: Preference, limit: float) -> float:
    if preference.wait is not None:
        return min(preference.wait, limit)
    return 0.0 if preference.respond_async else limit


def _accepted(job: Job, base: str, preference: Preference) -> Response:
    headers = {"location": f"{base}/jobs/{encode_id(job.id)}"}
    if preference.applied:
        headers["preference-applied"] = preference.applied
    return answer(status_info(job, base), 201, headers)


async def _finished(door: Door, job: Job, base: str, *, raw: bool) -> Response:
    monitor = f'<{base}/jobs/{encode_id(job.id)}>; rel="monitor"'
    response = await results_of(door.broker, job, raw=raw and job.state is State.SUCCEEDED)
    response.headers["link"] = monitor
    return response
