"""From a submit to the lease in a waiting worker's hands, in one process, at low load."""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.child import Figures
from bench.embedded import DONE, KIND, PAYLOAD, WORKER, attach, open_broker
from bench.longpost import quantiles
from crossdock.core.broker import Broker
from crossdock.core.requests import Submit


async def embedded(count: int, pause: float) -> Figures:
    """Submit one job after the other, ``pause`` seconds apart, to a worker that waits."""
    begun: asyncio.Queue[float] = asyncio.Queue()
    waits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        async with open_broker(Path(place)) as broker:
            await attach(broker, 4)
            worker = asyncio.create_task(_work(broker, begun))
            for _ in range(count):
                await asyncio.sleep(pause)
                sent = time.perf_counter()
                await broker.intake.submit(Submit(kind=KIND, payload=PAYLOAD))
                waits.append(await begun.get() - sent)
            worker.cancel()
    return quantiles(waits)


async def _work(broker: Broker, begun: asyncio.Queue[float]) -> None:
    while True:
        for lease in await broker.dispatch.claim(WORKER, 1, 1.0):
            begun.put_nowait(time.perf_counter())
            await broker.dispatch.report(lease.token, DONE)
