"""What a deep queue costs: time to start, memory, and throughput while as many jobs come as go.

Two cases: jobs that go *beside* the queue, in a class of their own, as when the backlog waits for other workers; and jobs
that go *through* it, where the oldest are run first, so that each is read back from the disk.
"""

import time
from pathlib import Path
from typing import Final

import psutil

from bench.child import Figures
from bench.embedded import KIND, PAYLOAD, attach, open_broker, own, run_jobs, spread
from crossdock.core.requests import Submit

_BATCH: Final = 5000


async def fill(place: str, jobs: int) -> Figures:
    """Queue jobs, spread over the classes, in batches; return how fast that goes."""
    started = time.perf_counter()
    async with open_broker(Path(place)) as broker:
        for start in range(0, jobs, _BATCH):
            numbers = range(start, min(start + _BATCH, jobs))
            await broker.intake.submit_batch(
                [Submit(kind=KIND, payload=PAYLOAD, requirements=spread(number)) for number in numbers]
            )
    return {"jobs_per_s": jobs / (time.perf_counter() - started)}


async def run(place: str, jobs: int, in_flight: int, beside: bool) -> Figures:
    """Open a store with queued jobs and run as many as are submitted, beside the queue or through it."""
    choose = own if beside else spread
    started = time.perf_counter()
    async with open_broker(Path(place)) as broker:
        opened = time.perf_counter() - started
        idle = _resident()
        await attach(broker, in_flight, choose)
        await run_jobs(broker, 2 * in_flight, in_flight, choose)
        figures = await run_jobs(broker, jobs, in_flight, choose)
        return {**figures, "start_s": opened, "rss_start_mb": idle, "rss_mb": _resident()}


def _resident() -> float:
    return psutil.Process().memory_info().rss / 1e6
