"""``crossdock bench``: empty jobs through the embedded core, from a durable submit to a durable result."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.ports import Dispatch, Intake
from crossdock.core.requests import LOCAL, Capabilities, Submit, WorkerInfo
from crossdock.http.server import new_event_loop
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

_KIND = "bench"
_WORKER = f"{LOCAL}bench"
_DONE = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"null")


class Measurement(Struct, frozen=True, kw_only=True):
    """What was measured."""

    jobs: int
    in_flight: int
    seconds: float
    jobs_per_second: float
    cpu_microseconds_per_job: float


def measure(jobs: int, in_flight: int, directory: str) -> Measurement:
    """Run ``jobs`` empty jobs in a store that is made in ``directory`` and deleted again."""
    with (
        tempfile.TemporaryDirectory(prefix="crossdock-bench-", dir=directory) as place,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        seconds, cpu = runner.run(_run(jobs, min(in_flight, jobs), Path(place)))
    return Measurement(
        jobs=jobs,
        in_flight=in_flight,
        seconds=round(seconds, 3),
        jobs_per_second=round(jobs / seconds, 1),
        cpu_microseconds_per_job=round(cpu / jobs * 1e6, 1),
    )


async def _run(jobs: int, in_flight: int, place: Path) -> tuple[float, float]:
    broker = Broker(
        store=SqliteStore(place / "crossdock.db"),
        artifacts=file_artifacts(place / "artifacts"),
        signals=LocalSignals(),
        clock=SystemClock(),
        kinds={_KIND: Kind(name=_KIND)},
    )
    await broker.open()
    try:
        capabilities = Capabilities(values={"kind": (_KIND,)})
        await broker.dispatch.attach(WorkerInfo(id=_WORKER, slots=in_flight, capabilities=capabilities, local=True))
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            remaining = iter(range(jobs))
            for _ in range(in_flight):
                group.create_task(_submit(broker.intake, remaining))
            group.create_task(_work(broker.dispatch, jobs, in_flight))
        return time.perf_counter() - started, time.process_time() - cpu
    finally:
        await broker.close()


async def _submit(intake: Intake, remaining: Iterator[int]) -> None:
    for _ in remaining:
        job = (await intake.submit(Submit(kind=_KIND))).job
        await intake.wait(job.id, 60.0)


async def _work(dispatch: Dispatch, jobs: int, slots: int) -> None:
    done = 0
    async with asyncio.TaskGroup() as group:
        while done < jobs:
            for lease in await dispatch.claim(_WORKER, slots, 1.0):
                group.create_task(_finish(dispatch, lease))
                done += 1


async def _finish(dispatch: Dispatch, lease: Lease) -> None:
    await dispatch.report(lease.token, _DONE)
