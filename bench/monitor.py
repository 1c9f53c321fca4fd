"""Progress messages to a thousand browsers: notes of one job, through the log on disk, to WebSocket listeners elsewhere."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil
from websockets.asyncio.client import ClientConnection, connect

from bench.child import Figures
from bench.embedded import DONE, KIND, PAYLOAD, WORKER, attach, open_broker, spread
from crossdock.core.identifiers import encode_id
from crossdock.core.requests import Note, Step, Submit
from crossdock.protocols.recodex.messages import FINISHED
from crossdock.protocols.recodex.monitor import Monitor, MonitorOptions, resolver

_TOGETHER: Final = 50
"""Connections that are opened at once."""
_BURST: Final = 100
"""Notes between two turns of the event loop."""
_LIMIT: Final = 300.0


async def fan_out(listeners: int, messages: int, pause: float = 0.0) -> Figures:
    """Tell every listener every message; measure from the first note to the last close.

    With a pause (seconds) between two notes, every message travels alone; without, many share a write.
    """
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        async with open_broker(Path(place)) as broker, asyncio.timeout(_LIMIT):
            await attach(broker, 1)
            job = (await broker.intake.submit(Submit(kind=KIND, payload=PAYLOAD, requirements=spread(0)))).job
            [lease] = await broker.dispatch.claim(WORKER, 1, 5.0)
            monitor = Monitor(MonitorOptions(port=0, connections=listeners), broker.intake, resolver(broker.records))
            await monitor.start()
            async with _audience(monitor.port, encode_id(job.id), listeners) as audience:
                await _first_word(audience)
                used, begun = time.process_time(), time.perf_counter()
                for number in range(messages):
                    await broker.dispatch.note(lease.token, Note(step=Step("TASK", f"task-{number}", "COMPLETED")))
                    if pause or number % _BURST == 0:
                        await asyncio.sleep(pause)
                await broker.dispatch.note(lease.token, Note(step=Step(FINISHED)))
                await broker.dispatch.report(lease.token, DONE)
                heard = int((await audience.readline()).split()[1])
                seconds, used = time.perf_counter() - begun, time.process_time() - used
            rss = psutil.Process().memory_info().rss / 1e6
            await monitor.stop()
    if heard != listeners * (messages + 1):
        raise RuntimeError(f"{heard} messages arrived instead of {listeners * (messages + 1)}")
    return {"messages_per_s": heard / seconds, "server_cpu_us_per_message": used / heard * 1e6, "rss_mb": rss}


async def _first_word(audience: asyncio.StreamReader) -> None:
    if await audience.readline() != b"listening\n":
        raise RuntimeError("the listeners could not connect")


@asynccontextmanager
async def _audience(port: int, channel: str, listeners: int) -> AsyncIterator[asyncio.StreamReader]:
    """Run the listeners in a process of their own; yield what it says."""
    command = (sys.executable, "-m", "bench.monitor", str(port), channel, str(listeners))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise AssertionError("its output is a pipe")
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listen(port: int, channel: str, count: int) -> None:
    """Be the audience."""
    pages: list[ClientConnection] = []
    while len(pages) < count:
        address = f"ws://127.0.0.1:{port}"
        some = min(_TOGETHER, count - len(pages))
        pages += await asyncio.gather(*[connect(address, ping_interval=None, compression=None) for _ in range(some)])
    for page in pages:
        await page.send(channel)
    print("listening", flush=True)
    heard = await asyncio.gather(*map(_count, pages))
    print("heard", sum(heard), flush=True)


async def _count(page: ClientConnection) -> int:
    count = 0
    async for _ in page:
        count += 1
    return count


if __name__ == "__main__":
    asyncio.run(_listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
