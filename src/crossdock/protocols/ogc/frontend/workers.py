"""Workers: what operators see and do, and how workers elsewhere attach over HTTP."""

from fastapi import APIRouter
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import LOCAL, Renewal
from crossdock.http.attention import attend
from crossdock.http.auth import Scope
from crossdock.protocols.ogc import documents
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.link_messages import Attach, Claim, Claimed, Renew
from crossdock.protocols.ogc.messages import WorkerList
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["workers"])

_ERRORS = (400, 403, 404)
_LONGEST = 200


@router.get("/workers", **described("The attached workers", answers={200: WorkerList}, errors=(403,)))
async def list_workers(request: Request) -> Response:
    """List the attached workers, over every protocol."""
    door = Door.of(request)
    door.caller(request, Scope.READ_ALL, Scope.WORK)
    return answer(WorkerList([documents.worker(view) for view in door.broker.oversight.workers()]))


@router.post(
    "/workers/{worker_id:path}/drain", **described("Drain a worker", answers={204: "it gets no more work"}, errors=_ERRORS)
)
async def drain_worker(request: Request, worker_id: str) -> Response:
    """Give a worker no more work; what it runs goes on."""
    door = Door.of(request)
    door.caller(request, Scope.ADMIN)
    door.broker.oversight.drain(worker_id)
    return Response(status_code=204)


@router.post("/workers", **described("Attach a worker", body=Attach, answers={200: Renewal}, errors=_ERRORS))
async def attach_worker(request: Request) -> Response:
    """Introduce a worker, or replace what is known of it."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    message = await door.message(request, Attach)
    worker = replace(message.worker, local=False)
    _remote(worker.id)
    return answer(await door.broker.dispatch.attach(worker, message.tokens))


@router.delete("/workers/{worker_id}", **described("Detach a worker", answers={204: "it is gone"}, errors=_ERRORS))
async def detach_worker(request: Request, worker_id: str) -> Response:
    """Forget a worker; what it has leased and not reported is handed back."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    await door.broker.dispatch.detach(_remote(worker_id))
    return Response(status_code=204)


@router.post("/workers/{worker_id}/claim", **described("Ask for work", body=Claim, answers={200: Claimed}, errors=_ERRORS))
async def claim_leases(request: Request, worker_id: str) -> Response:
    """Return leases, waiting for the first as long as the worker asks (20 s at most)."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    message = await door.message(request, Claim)
    work = door.broker.dispatch.claim(_remote(worker_id), message.limit, message.wait)
    # A worker that went away while leases were on the way to it does not renew them, so they come back by themselves.
    leases = await (attend(request, work) if message.wait > 0 else work)
    return answer(Claimed(leases or []))


@router.post(
    "/workers/{worker_id}/renew",
    **described("Heartbeat of a worker", body=Renew, answers={200: Renewal}, errors=_ERRORS),
)
async def renew_leases(request: Request, worker_id: str) -> Response:
    """Say that leases are alive; learn which are not any more, and which should stop."""
    door = Door.of(request)
    door.caller(request, Scope.WORK)
    message = await door.message(request, Renew)
    return answer(await door.broker.dispatch.renew(_remote(worker_id), message.tokens))


def _remote(worker_id: str) -> str:
    if worker_id.startswith(LOCAL):
        raise CrossdockError(Code.INVALID, f"ids that begin with {LOCAL!r} belong to workers inside the server")
    if not worker_id or len(worker_id) > _LONGEST or not worker_id.isprintable() or "/" in worker_id:
        raise CrossdockError(Code.INVALID, f"a worker's id needs 1 to {_LONGEST} printable characters without a slash")
    return worker_id
