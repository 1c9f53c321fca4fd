"""Jobs: listing, status, dismissing, and running a dead one again."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core import requests
from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import decode_id, encode_id
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.core.requests import CancelMode
from crossdock.http.auth import Caller, Scope
from crossdock.protocols.ogc.codec import invalid
from crossdock.protocols.ogc.documents import JSON, STATUS, member_status, status_info
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.messages import JobList, Link, StatusInfo
from crossdock.protocols.ogc.openapi import described
from crossdock.protocols.ogc.times import parse_interval

router = APIRouter(tags=["jobs"])

_MOST: Final = 1000
_DISMISS_SECONDS: Final = 1.0
"""How long dismissing waits for a running job to stop, so that the answer can usually say that it has."""

_Repeated = Annotated[list[str] | None, Query(description="may be repeated, or a list with commas")]
_Seconds = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]


class Filter(Struct, frozen=True, kw_only=True):
    """The parameters of a job listing as they came."""

    type: list[str] | None
    kinds: list[str] | None
    status: list[str] | None
    state: list[str] | None
    datetime: str | None
    batch: str | None
    cursor: str | None


@router.get("/jobs", **described("The jobs", answers={200: JobList}, errors=(400,)))
async def list_jobs(  # noqa: PLR0913 - the parameters that the standard and we define
    request: Request,
    *,
    limit: Annotated[int, Query(ge=1, description="at most 1000 are given at once")] = 100,
    type: _Repeated = None,  # noqa: A002 - the name in the standard
    process_id: Annotated[list[str] | None, Query(alias="processID")] = None,
    status: _Repeated = None,
    state: _Repeated = None,
    datetime: str | None = None,
    min_duration: Annotated[_Seconds, Query(alias="minDuration")] = None,
    max_duration: Annotated[_Seconds, Query(alias="maxDuration")] = None,
    batch: str | None = None,
    code: str | None = None,
    cursor: str | None = None,
) -> Response:
    """List jobs, newest first; every given condition has to hold. A link ``next`` leads to the following page."""
    door = Door.of(request)
    caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    terms = Filter(type=type, kinds=process_id, status=status, state=state, datetime=datetime, batch=batch, cursor=cursor)
    query = _query(terms, caller, limit=min(limit, _MOST), min_duration=min_duration, max_duration=max_duration, code=code)
    base = door.base(request)
    links = [Link(f"{base}{request.url.path}", "self", JSON)]
    if terms.type and "process" not in _split(terms.type):
        return answer(JobList([], links))
    page = await door.broker.intake.search(query)
    if page.cursor is not None:
        following = request.url.include_query_params(cursor=encode_id(page.cursor))
        links.append(Link(f"{base}{following.path}?{following.query}", "next", JSON))
    return answer(JobList([status_info(job, base) for job in page.jobs], links))


@router.get("/jobs/{job_id}", **described("Status of a job", answers={200: StatusInfo}, errors=(404,)))
async def job_status(request: Request, job_id: str) -> Response:
    """Return how far a job is, or a member of an array (``ARRAY.POSITION``)."""
    door = Door.of(request)
    caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    job, position = await door.job(caller, job_id)
    base = door.base(request)
    if position is not None:
        return answer(member_status(job, await door.broker.intake.member(job.id, position), base))
    return answer(status_info(job, base, _why(door, job)))


@router.delete("/jobs/{job_id}", **described("Dismiss a job", answers={200: StatusInfo}, errors=(400, 403, 404)))
async def dismiss_job(request: Request, job_id: str, mode: CancelMode = "cooperative") -> Response:
    """Cancel a job; an ended one stays as it is. ``mode=hard`` kills at once instead of asking first."""
    door = Door.of(request)
    caller = door.caller(request, Scope.SUBMIT)
    job = await door.whole_job(caller, job_id)
    if not job.terminal:
        caller.require_own(job.tenant)
        job = await door.broker.intake.cancel(job.id, mode)
    if not job.terminal:
        job = await door.broker.intake.wait(job.id, _DISMISS_SECONDS)
    return answer(status_info(job, door.base(request)))


@router.post(
    "/jobs/{job_id}/retry", **described("Run a dead job again", answers={201: StatusInfo}, errors=(400, 403, 404, 409))
)
async def retry_job(request: Request, job_id: str) -> Response:
    """Submit a failed or dismissed job again, as a new job; of an array, the members that failed."""
    door = Door.of(request)
    caller = door.caller(request, Scope.SUBMIT)
    job = await door.whole_job(caller, job_id)
    caller.require_own(job.tenant)
    again = await door.broker.intake.retry(job.id)
    base = door.base(request)
    return answer(status_info(again, base), 201, {"location": f"{base}/jobs/{encode_id(again.id)}"})


def _why(door: Door, job: Job) -> str:
    return door.broker.oversight.explain(job) if job.state in (State.WAITING, State.READY) else ""


def _query(
    terms: Filter,
    caller: Caller,
    *,
    limit: int,
    min_duration: float | None,
    max_duration: float | None,
    code: str | None,
) -> requests.Query:
    start, end = parse_interval(terms.datetime, "datetime") if terms.datetime else (None, None)
    return requests.Query(
        states=_states(terms),
        kinds=tuple(_split(terms.kinds)),
        tenant=None if caller.reads_all else caller.tenant,
        batch=_identifier(terms.batch, "batch"),
        created_from=start,
        created_to=end,
        min_duration=min_duration,
        max_duration=max_duration,
        code=code,
        cursor=_identifier(terms.cursor, "cursor"),
        limit=limit,
    )


def _states(terms: Filter) -> tuple[State, ...]:
    wanted = set(State)
    if terms.status:
        statuses = _checked(_split(terms.status), set(STATUS.values()), "status")
        wanted &= {state for state in State if STATUS[state] in statuses}
    if terms.state:
        wanted &= {State(state) for state in _checked(_split(terms.state), {str(state) for state in State}, "state")}
    if not wanted:
        raise invalid("no job can be in this status and this state at once")
    return tuple(state for state in State if state in wanted) if terms.status or terms.state else ()


def _checked(values: list[str], known: set[str], name: str) -> set[str]:
    for value in values:
        if value not in known:
            raise invalid(f"{name}: {value[:40]!r} is none of {', '.join(sorted(known))}")
    return set(values)


def _split(values: list[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _identifier(text: str | None, name: str) -> int | None:
    try:
        return None if text is None else decode_id(text)
    except CrossdockError:
        raise invalid(f"{name}: {text!r:.60} is no identifier") from None
