"""The application: every route behind one shield."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp

from crossdock.core.broker import Broker
from crossdock.http.auth import Authenticator
from crossdock.http.handlers import EXCEPTION_HANDLERS
from crossdock.http.shield import Shield
from crossdock.protocols.ogc.frontend import (
    artifacts,
    batches,
    events,
    execution,
    jobs,
    leases,
    members,
    operations,
    processes,
    results,
    workers,
)
from crossdock.protocols.ogc.frontend.door import Door, OgcOptions
from crossdock.protocols.ogc.metrics import Incidents, Metrics
from crossdock.protocols.ogc.openapi import publish_schemas

_MODULES: Final = (execution, jobs, results, members, events, leases, workers, processes, batches, artifacts, operations)


def create_app(
    broker: Broker,
    options: OgcOptions | None = None,
    authenticator: Authenticator | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    incidents: Incidents | None = None,
) -> ASGIApp:
    """Return the HTTP application of a broker.

    Args:
        broker: open, or opened before the first request; until then requests are answered with 503.
        options: how it behaves.
        authenticator: who may do what; without one, everybody may do everything.
        extra_routes: routes of other protocols, tried before those of this one.
        incidents: what goes wrong at other protocols, for the metrics.
    """
    options = options or OgcOptions()
    app = FastAPI(
        title=options.title,
        version=version("crossdock"),
        description="OGC API - Processes 1.0 with extensions.",
        openapi_url="/api",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=dict(EXCEPTION_HANDLERS),
    )
    metrics = Metrics(broker.stats, incidents)
    app.state.door = Door(broker, options, authenticator or Authenticator())
    app.state.metrics = metrics
    app.state.readiness = operations.Readiness()
    for module in _MODULES:
        # Not include_router: routes that stand in the application itself let a 405 say which methods there are.
        app.router.routes.extend(module.router.routes)
    publish_schemas(app)
    # Tried first and without FastAPI around them: a LONGPOST request would else pay for every route of this application.
    return Shield(Router(extra_routes, default=app, redirect_slashes=False), metrics.observe)
