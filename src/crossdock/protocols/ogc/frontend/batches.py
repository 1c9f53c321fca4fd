"""Batches: jobs that are submitted together, counted together and cancelled together."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Tally
from crossdock.core.requests import Submit
from crossdock.http.auth import Caller, Scope
from crossdock.protocols.ogc.codec import submit_of
from crossdock.protocols.ogc.documents import JSON, counts, status_info
from crossdock.protocols.ogc.frontend.door import Door, answer, tenant_for
from crossdock.protocols.ogc.messages import BatchInfo, BatchItem, BatchRequest, Cancelled, Link
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["batches"])


@router.post(
    "/batches", **described("Submit many jobs", body=BatchRequest, answers={201: BatchInfo}, errors=(400, 403, 413, 415))
)
async def submit_batch(request: Request) -> Response:
    """Accept many jobs in one transaction: all of them, or none."""
    door = Door.of(request)
    caller = door.caller(request, Scope.SUBMIT)
    message = await door.message(request, BatchRequest)
    submits = [await _submit(door, caller, item, f"jobs[{index}]") for index, item in enumerate(message.jobs)]
    batch, submitted = await door.broker.intake.submit_batch(submits, caller.tenant)
    base = door.base(request)
    jobs = [status_info(each.job, base) for each in submitted]
    links = _links(base, batch)
    info = BatchInfo(batch_id=encode_id(batch), members=counts(Tally(total=len(jobs))), links=links, jobs=jobs)
    return answer(info, 201, {"location": links[0].href})


@router.get("/batches/{batch_id}", **described("Counts of a batch", answers={200: BatchInfo}, errors=(404,)))
async def batch_status(request: Request, batch_id: str) -> Response:
    """Return how many jobs of a batch have ended, and how."""
    door = Door.of(request)
    batch = await door.batch(door.caller(request, Scope.READ_OWN, Scope.READ_ALL), batch_id)
    tally = await door.broker.intake.batch(batch)
    links = _links(door.base(request), batch)
    return answer(BatchInfo(batch_id=encode_id(batch), members=counts(tally), links=links))


@router.delete("/batches/{batch_id}", **described("Cancel a batch", answers={200: Cancelled}, errors=(403, 404)))
async def cancel_batch(request: Request, batch_id: str) -> Response:
    """Cancel all jobs of a batch that have not ended."""
    door = Door.of(request)
    caller = door.caller(request, Scope.SUBMIT)
    batch = await door.batch(caller, batch_id, change=True)
    return answer(Cancelled(await door.broker.intake.cancel_batch(batch)))


async def _submit(door: Door, caller: Caller, item: BatchItem, place: str) -> Submit:
    try:
        tenant = tenant_for(caller, item.crossdock.tenant)
        return await door.submit(caller, submit_of(item, door.kind(item.process), tenant=tenant, key=item.key))
    except CrossdockError as error:
        error.message = f"{place}: {error.message}"
        raise


def _links(base: str, batch: int) -> list[Link]:
    identifier = encode_id(batch)
    return [Link(f"{base}/batches/{identifier}", "self", JSON), Link(f"{base}/jobs?batch={identifier}", "item", JSON)]
