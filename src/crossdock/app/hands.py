"""What jobs are given to inside the server: the worker that runs the App, and one worker for each backend."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crossdock.app.backends import Backend
from crossdock.app.skills import EVALUATION, Own, evaluation_kind, evaluations, functions, worker_of
from crossdock.app.stopping import Hands
from crossdock.config import Config, LongpostBackend
from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.needs import missing_needs
from crossdock.core.requests import LOCAL, Capabilities, WorkerInfo
from crossdock.protocols import longpost
from crossdock.protocols.jsonbus.kinds import backend_kind, node_kind
from crossdock.runners.function import App
from crossdock.worker import Worker

if TYPE_CHECKING:
    from crossdock.app.jsonbus import Node


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
    for place, kind in _backend_kinds(config):
        if kind.name in kinds:
            text = f"{place}: the kind {kind.name!r} is also a function of the App; a kind has one runner"
            raise CrossdockError(Code.INVALID, text)
        kinds[kind.name] = kind
    if config.jsonbus is not None:
        nodes = (*config.jsonbus.nodes, *missing_needs(kinds))
        kinds |= {name: node_kind(name, wait=config.jsonbus.wait) for name in nodes if name not in kinds}
    return kinds


def _backend_kinds(config: Config) -> Iterator[tuple[str, Kind]]:
    """Yield what backends run, each kind with the table that it is from."""
    for name, table in config.backends.longpost.items():
        for kind in table.kinds or (name,):
            yield (
                f"backends.longpost.{name}",
                Kind(name=kind, runner="longpost", raw=True, description=f"Runs at {table.url}"),
            )
    for name, table in config.backends.jsonbus.items():
        text = f"Runs on the json-bus workers {name}"
        for kind in table.kinds or (name,):
            yield f"backends.jsonbus.{name}", backend_kind(kind, text, attempts=table.attempts)


async def hands(
    config: Config, broker: Broker, reference: str | None, app: App | None, own: Own, node: "Node | None"
) -> list[Hands]:
    """Return every worker of the server.

    Args:
        config: the configuration.
        broker: has the jobs.
        reference: where child processes find ``app``.
        app: the functions to run.
        own: how evaluations reach the server's own file server, if there is one.
        node: the server's json-bus node, if there is one.
    """
    workers: list[Hands] = []
    artifacts = broker.artifacts
    if app is not None and reference is not None and app.functions:
        skill = functions(config, artifacts, reference, app)
        workers.append(worker_of([skill], config, broker.dispatch, artifacts, local=True))
    if config.evaluation is not None:
        skill = await evaluations(config, artifacts, own=own)
        workers.append(worker_of([skill], config, broker.dispatch, artifacts, local=True))
    backends = [_longpost(name, table) for name, table in config.backends.longpost.items()]
    backends += node.backends() if node is not None else []
    return workers + [_worker(backend, broker) for backend in backends]


def _longpost(name: str, table: LongpostBackend) -> Backend:
    """Return what runs jobs at a LONGPOST endpoint."""
    delays = longpost.Delays(initial=table.poll_first, factor=table.poll_factor, step=table.poll_step, cap=table.poll_max)
    return Backend(
        name=f"longpost/{name}",
        runner=longpost.LongpostRunner(table.url, delays=delays, headers=table.headers, max_result=table.max_result),
        kinds=table.kinds or (name,),
        slots=table.slots,
        description=f"LONGPOST endpoint {table.url}",
    )


def _worker(backend: Backend, broker: Broker) -> Worker:
    """Return a worker whose hands are somewhere else."""
    kinds = {kind: broker.kinds[kind] for kind in backend.kinds}
    info = WorkerInfo(
        id=f"{LOCAL}{backend.name}/{secrets.token_hex(4)}",
        slots=backend.slots,
        capabilities=Capabilities(values={"kind": tuple(kinds)}),
        description=backend.description,
        local=True,
    )
    runners = {kind.runner: backend.runner for kind in kinds.values()}
    return Worker(broker.dispatch, broker.artifacts, runners, kinds, info)
