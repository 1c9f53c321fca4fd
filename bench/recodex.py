"""ReCodEx jobs over real ZeroMQ, from ``eval`` to ``done``, each on disk twice: how many, how deep the queue, how soon.

The broker with both doors is in the measured process. A client and plain workers are in another one (``recodex_load.py``),
as is the web application that hears how jobs ended, if there is one.
"""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench.child import Figures
from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.kinds import Kind
from crossdock.http.egress import Egress
from crossdock.protocols.recodex.backend import Backend
from crossdock.protocols.recodex.frontend import Frontend
from crossdock.protocols.recodex.notifier import Notifier, NotifierOptions
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

_ANY: Final = "tcp://127.0.0.1:0"


class Doors(NamedTuple):
    """The ports of the doors, and the socket that the web application has to listen at, if there is one."""

    clients: int
    workers: int
    calls: socket.socket | None


async def throughput(jobs: int, queued: int, workers: int, groups: int, notified: bool = False) -> Figures:
    """Run jobs through a queue that is ``queued`` deep all the time; ``notified``: and tell a web application of each."""
    async with _doors(notified=notified) as doors:
        load = await _spawn(doors, "through", jobs, queued, workers, groups)
        if load.stdout is None:
            raise AssertionError("the load writes to a pipe")
        await load.stdout.readline()
        cpu = time.process_time()
        figures = json.loads(await load.stdout.readline())
        cpu = time.process_time() - cpu
        await load.wait()
    return {**figures, "broker_cpu_us_per_job": cpu / jobs * 1e6}


async def latency(jobs: int, pause: float) -> Figures:
    """Submit one job every ``pause`` seconds; return milliseconds until it is accepted, and until a worker has it."""
    async with _doors() as doors:
        load = await _spawn(doors, "delays", jobs, pause)
        if load.stdout is None:
            raise AssertionError("the load writes to a pipe")
        figures = json.loads(await load.stdout.readline())
        await load.wait()
    return figures


@asynccontextmanager
async def _doors(*, notified: bool = False) -> AsyncIterator[Doors]:
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        broker = Broker(
            store=SqliteStore(Path(place) / "crossdock.db"),
            artifacts=file_artifacts(Path(place) / "artifacts"),
            signals=LocalSignals(),
            clock=SystemClock(),
            kinds={"evaluation": Kind(name="evaluation", raw=True)},
        )
        options = RecodexOptions(clients=_ANY, workers=_ANY, told=notified)
        frontend, backend = Frontend(options, broker), Backend(options, broker)
        await broker.open()
        await frontend.start()
        await backend.start()
        try:
            async with _notifier(broker, notified=notified) as calls:
                yield Doors(frontend.port, backend.port, calls)
        finally:
            await frontend.stop()
            await backend.stop()
            await broker.close()


@asynccontextmanager
async def _notifier(broker: Broker, *, notified: bool) -> AsyncIterator[socket.socket | None]:
    """Tell a web application of ends; return the socket that it has to listen at."""
    if not notified:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        options = NotifierOptions(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        notifier = Notifier(options, broker.intake, broker.outbox, broker.artifacts, Egress())
        task = asyncio.create_task(notifier.run())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _spawn(doors: Doors, what: str, *arguments: object) -> asyncio.subprocess.Process:
    given = (what, doors.clients, doors.workers, 0 if doors.calls is None else doors.calls.fileno(), *arguments)
    command = (sys.executable, "-m", "bench.recodex_load", *map(str, given))
    inherited = () if doors.calls is None else (doors.calls.fileno(),)
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, pass_fds=inherited)
