"""What jobs are given to inside the server: the worker that runs the App, and one worker for each backend."""

import secrets

from crossdock.app.skills import EVALUATION, Own, evaluation_kind, evaluations, functions, worker_of
from crossdock.app.stopping import Hands
from crossdock.config import Config, LongpostBackend
from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.requests import LOCAL, Capabilities, WorkerInfo
from crossdock.protocols import longpost
from crossdock.runners.function import App
from crossdock.worker import Worker


def kinds_of(config: Config, app: App | None) -> dict[str, Kind]:
    """Return every kind that somebody here runs, or may come to run.

    Raises:
        CrossdockError: ``invalid`` if two have the same name.
    """
    kinds = app.kinds() if app is not None else {}
    if config.evaluation is not None or config.recodex is not None:
        if EVALUATION in kinds:
            raise CrossdockError(
                Code.INVALID, f"the App has a function {EVALUATION!r}, which is the kind of evaluations here"
            )
        kinds[EVALUATION] = evaluation_kind(config)
    for name, backend in config.backends.longpost.items():
        for kind in backend.kinds or (name,):
            if kind in kinds:
                text = f"backends.longpost.{name}: the kind {kind!r} is also a function of the App; a kind has one runner"
                raise CrossdockError(Code.INVALID, text)
            kinds[kind] = Kind(name=kind, runner="longpost", raw=True, description=f"Runs at {backend.url}")
    return kinds


async def hands(config: Config, broker: Broker, reference: str | None, app: App | None, own: Own) -> list[Hands]:
    """Return every worker of the server.

    Args:
        config: the configuration.
        broker: has the jobs.
        reference: where child processes find ``app``.
        app: the functions to run.
        own: how evaluations reach the server's own file server, if there is one.
    """
    workers: list[Hands] = []
    artifacts = broker.artifacts
    if app is not None and reference is not None and app.functions:
        skill = functions(config, artifacts, reference, app)
        workers.append(worker_of([skill], config, broker.dispatch, artifacts, local=True))
    if config.evaluation is not None:
        skill = await evaluations(config, artifacts, own=own)
        workers.append(worker_of([skill], config, broker.dispatch, artifacts, local=True))
    workers += [_backend_worker(name, table, broker) for name, table in config.backends.longpost.items()]
    return workers


def _backend_worker(name: str, table: LongpostBackend, broker: Broker) -> Worker:
    """Return a worker whose hands are a LONGPOST endpoint."""
    delays = longpost.Delays(initial=table.poll_first, factor=table.poll_factor, step=table.poll_step, cap=table.poll_max)
    runner = longpost.LongpostRunner(table.url, delays=delays, headers=table.headers)
    kinds = {kind: broker.kinds[kind] for kind in table.kinds or (name,)}
    info = WorkerInfo(
        id=f"{LOCAL}longpost/{name}/{secrets.token_hex(4)}",
        slots=table.slots,
        capabilities=Capabilities(values={"kind": tuple(kinds)}),
        description=f"LONGPOST endpoint {table.url}",
        local=True,
    )
    return Worker(broker.dispatch, broker.artifacts, {"longpost": runner}, kinds, info)
