"""Landing page, conformance, and what processes there are."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from crossdock.core import requests
from crossdock.core.errors import CrossdockError
from crossdock.http.auth import Scope
from crossdock.protocols.ogc import documents
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.messages import Conformance, LandingPage, Link, Process, ProcessList
from crossdock.protocols.ogc.openapi import described
from crossdock.protocols.ogc.page import POLICY, landing

router = APIRouter(tags=["processes"])

_CLASSES: Final = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    *(
        f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{name}"
        for name in ("core", "ogc-process-description", "json", "job-list", "callback", "dismiss")
    ),
]
_RECENT: Final = 20


@router.get("/", **described("What is here", answers={200: LandingPage}))
async def landing_page(request: Request) -> Response:
    """Show the landing page: JSON, or a small page for browsers."""
    door = Door.of(request)
    base = door.base(request)
    if "text/html" in request.headers.get("accept", ""):
        return await _page(door, request, base)
    links = [
        Link(f"{base}/", "self", documents.JSON),
        Link(f"{base}/api", "service-desc", "application/vnd.oai.openapi+json;version=3.1"),
        Link(f"{base}/conformance", documents.CONFORMANCE, documents.JSON),
        Link(f"{base}/conformance", "conformance", documents.JSON),
        Link(f"{base}/processes", documents.PROCESSES, documents.JSON),
        Link(f"{base}/jobs", documents.JOB_LIST, documents.JSON),
    ]
    return answer(LandingPage(door.options.title, "Long-running jobs over OGC API - Processes", links))


@router.get("/conformance", **described("Which standards are followed", answers={200: Conformance}))
async def conformance(request: Request) -> Response:
    """List conformance classes."""
    del request
    return answer(Conformance(_CLASSES))


@router.get("/processes", **described("The processes", answers={200: ProcessList}, errors=(400,)))
async def list_processes(
    request: Request,
    limit: Annotated[int, Query(ge=1)] = 100,
    start: Annotated[str, Query(description="the id after which to go on", max_length=200)] = "",
) -> Response:
    """List processes in order of id; a link ``next`` leads to the following page."""
    door = Door.of(request)
    door.caller(request)
    base = door.base(request)
    limit = min(limit, 1000)
    names = sorted(name for name in door.broker.kinds if name > start)
    links = [Link(f"{base}/processes", "self", documents.JSON)]
    if len(names) > limit:
        links.append(Link(f"{base}/processes?limit={limit}&start={names[limit - 1]}", "next", documents.JSON))
    found = [documents.summary(door.broker.kinds[name], base) for name in names[:limit]]
    return answer(ProcessList(found, links))


@router.get("/processes/{process_id}", **described("One process", answers={200: Process}, errors=(404,)))
async def describe_process(request: Request, process_id: str) -> Response:
    """Describe a process: the JSON Schema of every input, and how it can be run."""
    door = Door.of(request)
    door.caller(request)
    return answer(documents.process(door.kind(process_id), door.base(request)))


async def _page(door: Door, request: Request, base: str) -> Response:
    try:
        caller = door.caller(request, Scope.READ_OWN, Scope.READ_ALL)
    except CrossdockError:
        jobs: tuple[documents.Job, ...] = ()
    else:
        tenant = None if caller.reads_all else caller.tenant
        jobs = (await door.broker.intake.search(requests.Query(tenant=tenant, limit=_RECENT))).jobs
    kinds = sorted(door.broker.kinds.values(), key=lambda kind: kind.name)
    page = landing(door.options.title, kinds, [documents.status_info(job, base) for job in jobs])
    return HTMLResponse(page, headers={"content-security-policy": POLICY})
