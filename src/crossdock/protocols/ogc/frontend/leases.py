"""Leases: what a worker elsewhere says while it runs an attempt, and how it ends it."""

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome
from crossdock.core.requests import Note, Verdict
from crossdock.http.auth import Scope
from crossdock.http.strict_json import parse
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.link_messages import MemberReport
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["workers"])

_ERRORS = (400, 403, 404, 413)
_DIGITS = 19


@router.post(
    "/leases/{token}/notes", **described("Progress of an attempt", body=Note, answers={204: "noted"}, errors=_ERRORS)
)
async def note_progress(request: Request, token: str) -> Response:
    """Record progress or a log line of a running attempt; of an ended lease it is ignored."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    lease = _token(token)
    await door.broker.dispatch.note(lease, await door.message(request, Note))
    return Response(status_code=204)


@router.post(
    "/leases/{token}/report", **described("End of an attempt", body=Outcome, answers={200: Verdict}, errors=_ERRORS)
)
async def report_outcome(request: Request, token: str) -> Response:
    """End an attempt. The verdict is durable; a report that comes too late changes nothing and says so."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    lease = _token(token)
    outcome = await door.message(request, Outcome)
    await _check([outcome])
    return answer(await door.broker.dispatch.report(lease, outcome))


@router.post(
    "/leases/{token}/members",
    **described("Ends of members of an array chunk", body=MemberReport, answers={200: Verdict}, errors=_ERRORS),
)
async def report_members(request: Request, token: str) -> Response:
    """Record outcomes of members of a leased array chunk; the lease ends with the last of them."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    lease = _token(token)
    message = await door.message(request, MemberReport)
    await _check(item.outcome for item in message.outcomes)
    return answer(await door.broker.dispatch.report_members(lease, message.outcomes))


async def _check(outcomes: Iterable[Outcome]) -> None:
    """Refuse results that are not JSON: they would be put into other documents as they are."""
    for outcome in outcomes:
        if isinstance(outcome.result, bytes):
            try:
                await parse(outcome.result)
            except CrossdockError as error:
                raise CrossdockError(Code.INVALID, f"the result is not JSON: {error.message}") from None


def _token(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) >= 1 << 63:
        raise CrossdockError(Code.NOT_FOUND, f"there is no lease {text[:40]!r}")
    return int(text)
