"""For operators and their machines: metrics, and whether the server lives and can take work."""

import asyncio
from typing import Final

from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Record
from crossdock.http.auth import Scope
from crossdock.protocols.ogc.frontend.door import Door, answer
from crossdock.protocols.ogc.metrics import CONTENT_TYPE, Metrics
from crossdock.protocols.ogc.openapi import described

router = APIRouter(tags=["operations"])

_PROBE_SECONDS: Final = 2.0
_FRESH_SECONDS: Final = 1.0


class Health(Struct, frozen=True):
    """How the server is."""

    status: str


class Readiness:
    """Whether a job could be accepted now: something small is written, at most once a second however often it is asked."""

    def __init__(self) -> None:
        self._checked = float("-inf")
        self._trouble: CrossdockError | None = None
        self._lock = asyncio.Lock()

    async def check(self, door: Door) -> None:
        """Return if the store takes writes.

        Raises:
            CrossdockError: ``unavailable`` with the reason.
        """
        async with self._lock:
            if door.broker.clock.monotonic() - self._checked > _FRESH_SECONDS:
                self._trouble = await _probe(door)
                self._checked = door.broker.clock.monotonic()
        if self._trouble is not None:
            raise CrossdockError(Code.UNAVAILABLE, self._trouble.message)


@router.get("/healthz", **described("Does the process live?", answers={200: "yes"}))
async def health(request: Request) -> Response:
    """Say that the process lives and its event loop turns."""
    del request
    return answer(Health("alive"))


@router.get("/readyz", **described("Would a job be accepted now?", answers={200: "yes"}))
async def readiness(request: Request) -> Response:
    """Say whether the store is open and takes writes; 503 with the reason if not."""
    readiness: Readiness = request.app.state.readiness
    await readiness.check(Door.of(request))
    return answer(Health("ready"))


@router.get("/metrics", **described("Metrics for Prometheus", answers={200: "in the text format"}, errors=(403,)))
async def metrics(request: Request) -> Response:
    """Show counters and gauges; none of them is found by counting rows."""
    door = Door.of(request)
    door.caller(request, Scope.READ_ALL)
    counted: Metrics = request.app.state.metrics
    return Response(counted.render(), media_type=CONTENT_TYPE)


async def _probe(door: Door) -> CrossdockError | None:
    record = Record("ogc", "readyz", b"", door.broker.clock.wall())
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await door.broker.records.put([record])
    except TimeoutError:
        return CrossdockError(Code.UNAVAILABLE, f"the store took longer than {_PROBE_SECONDS:g} s to write")
    except CrossdockError as error:
        return error
    return None
