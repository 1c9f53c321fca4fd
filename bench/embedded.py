"""The embedded core in this process: empty jobs from a durable submit through a claim to a durable end."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.child import Figures
from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import Outcome, OutcomeKind, Requirements
from crossdock.core.kinds import Kind
from crossdock.core.requests import Capabilities, Submit, WorkerInfo
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

KIND: Final = "empty"
WORKER: Final = "local/bench"
CLASSES: Final = 20
PAYLOAD: Final = b'{"x":"' + b"x" * 190 + b'"}'
DONE: Final = Outcome(kind=OutcomeKind.SUCCEEDED, result=b'{"ok":true,"time":0.012,"memory":4096}')
CLAIM: Final = 1000


@asynccontextmanager
async def open_broker(place: Path) -> AsyncIterator[Broker]:
    """Open a broker over the embedded store in a directory, as ``crossdock serve`` does."""
    broker = Broker(
        store=SqliteStore(place / "crossdock.db", synchronous="FULL"),
        artifacts=file_artifacts(place / "artifacts"),
        signals=LocalSignals(),
        clock=SystemClock(),
        kinds={KIND: Kind(name=KIND)},
    )
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


def spread(number: int) -> Requirements:
    """Return the requirements of the n-th job when jobs are spread over the classes."""
    return (("env", f"e{number % CLASSES}"),)


def own(_: int) -> Requirements:
    """Return the requirements of every job when jobs have a class of their own."""
    return (("env", "own"),)


async def attach(broker: Broker, slots: int, choose: Callable[[int], Requirements] = spread) -> None:
    """Attach the worker of this process, which offers every class that jobs get from ``choose``."""
    environments = tuple({value for number in range(CLASSES) for _, value in choose(number)})
    offers = Capabilities(values={"kind": (KIND,), "env": environments})
    await broker.dispatch.attach(WorkerInfo(id=WORKER, local=True, slots=slots, capabilities=offers))


async def throughput(jobs: int, in_flight: int) -> Figures:
    """Run ``jobs`` jobs with ``in_flight`` clients that each submit the next when the last is on disk."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        async with open_broker(Path(place)) as broker:
            await attach(broker, in_flight)
            await run_jobs(broker, min(jobs, 5 * in_flight), in_flight)
            return await run_jobs(broker, jobs, in_flight)


async def run_jobs(
    broker: Broker, jobs: int, in_flight: int, choose: Callable[[int], Requirements] = lambda _: ()
) -> Figures:
    """Put ``jobs`` jobs through the broker, and as many others out of it; return jobs a second and processor time."""
    started, cpu = time.perf_counter(), time.process_time()
    numbers = iter(range(jobs))
    async with asyncio.TaskGroup() as group:
        group.create_task(_work(broker, jobs))
        for _ in range(in_flight):
            group.create_task(_submit(broker, numbers, choose))
    seconds = time.perf_counter() - started
    return {"jobs_per_s": jobs / seconds, "cpu_us_per_job": (time.process_time() - cpu) / jobs * 1e6}


async def _submit(broker: Broker, numbers: Iterator[int], choose: Callable[[int], Requirements]) -> None:
    for number in numbers:
        await broker.intake.submit(Submit(kind=KIND, payload=PAYLOAD, requirements=choose(number)))


async def _work(broker: Broker, jobs: int) -> None:
    left = jobs
    async with asyncio.TaskGroup() as group:
        while left:
            leases = await broker.dispatch.claim(WORKER, min(CLAIM, left), 1.0)
            left -= len(leases)
            for lease in leases:
                group.create_task(broker.dispatch.report(lease.token, DONE))
