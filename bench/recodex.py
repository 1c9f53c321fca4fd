"""ReCodEx jobs over real ZeroMQ, from ``eval`` to ``done``, each on disk twice: how many, how deep the queue, how soon.

The broker with both doors is in the measured process. A client and plain workers, which only say the protocol, are in
another one, as they would take half of a processor from it. They know nothing of the broker but its ports.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

from bench.child import Figures
from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.kinds import Kind
from crossdock.protocols.recodex.backend import Backend
from crossdock.protocols.recodex.frontend import Frontend
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

_ANY: Final = "tcp://127.0.0.1:0"
_LIMIT: Final = 300.0
_PING: Final = 1.0
_SLACK: Final = 2
"""Jobs per worker that are on their way when nothing should be queued."""


class Ports(NamedTuple):
    """Where the doors are."""

    clients: int
    workers: int


async def throughput(jobs: int, queued: int, workers: int, groups: int) -> Figures:
    """Run jobs through a queue that is ``queued`` deep all the time."""
    async with _doors() as ports:
        load = await _spawn("through", *ports, jobs, queued, workers, groups)
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
    async with _doors() as ports:
        load = await _spawn("delays", *ports, jobs, pause)
        if load.stdout is None:
            raise AssertionError("the load writes to a pipe")
        figures = json.loads(await load.stdout.readline())
        await load.wait()
    return figures


@asynccontextmanager
async def _doors() -> AsyncIterator[Ports]:
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        broker = Broker(
            store=SqliteStore(Path(place) / "crossdock.db"),
            artifacts=file_artifacts(Path(place) / "artifacts"),
            signals=LocalSignals(),
            clock=SystemClock(),
            kinds={"evaluation": Kind(name="evaluation", raw=True)},
        )
        options = RecodexOptions(clients=_ANY, workers=_ANY)
        frontend, backend = Frontend(options, broker), Backend(options, broker)
        await broker.open()
        await frontend.start()
        await backend.start()
        try:
            yield Ports(frontend.port, backend.port)
        finally:
            await frontend.stop()
            await backend.stop()
            await broker.close()


async def _spawn(*arguments: object) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "bench.recodex", *map(str, arguments))
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


# The other process


class Load:
    """A client and workers in one loop over plain sockets."""

    def __init__(self, ports: Ports, workers: int, groups: int) -> None:
        self._context = zmq.Context()
        self._groups = groups
        self.client = self._socket(ports.clients)
        self._workers = [self._socket(ports.workers) for _ in range(workers)]
        self._poller = zmq.Poller()
        for socket in (self.client, *self._workers):
            self._poller.register(socket, zmq.POLLIN)
        for number, socket in enumerate(self._workers):
            socket.send_multipart([b"init", b"group%d" % (number % groups), b"env=c"])
        self._pinged = time.perf_counter()
        self._sent = 0
        self.accepted = 0
        self.done = 0
        self.hold = True
        self._held: deque[tuple[Any, bytes]] = deque()

    def _socket(self, port: int) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        socket.set_hwm(0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket

    def submit(self) -> int:
        """Send a job for the next group; return its number."""
        number = self._sent
        self._sent += 1
        urls = (b"http://fs/archives/%d.zip" % number, b"http://fs/results/%d.zip" % number)
        group = b"hwgroup=group%d" % (number % self._groups)
        self.client.send_multipart([b"eval", b"job%d" % number, group, b"env=c", b"", *urls])
        return number

    def turn(self, wait: int = 50) -> list[tuple[str, int, float]]:
        """Answer what has come, or comes within ``wait`` milliseconds; return what became of which job, and when."""
        events: list[tuple[str, int, float]] = []
        now = time.perf_counter()
        if now - self._pinged >= _PING:
            self._pinged = now
            for socket in self._workers:
                socket.send(b"ping")
        for socket, _ in self._poller.poll(wait):
            try:
                while True:
                    self._take(socket, socket.recv_multipart(zmq.NOBLOCK), events)
            except zmq.Again:
                continue
        return events

    def _take(self, socket: Any, frames: list[bytes], events: list[tuple[str, int, float]]) -> None:
        if frames[0] == b"eval":
            events.append(("given", int(frames[1][3:]), time.perf_counter()))
            if self.hold:
                self._held.append((socket, frames[1]))
            else:
                self._finish(socket, frames[1])
        elif frames[0] == b"accept":
            events.append(("accepted", self.accepted, time.perf_counter()))
            self.accepted += 1
        elif frames[0] == b"reject":
            raise RuntimeError(f"a job was rejected: {frames}")

    def _finish(self, socket: Any, job: bytes) -> None:
        socket.send_multipart([b"done", job, b"OK", b""])
        self.done += 1

    def release(self) -> None:
        """End what the workers hold, and hold nothing more."""
        self.hold = False
        while self._held:
            self._finish(*self._held.popleft())

    def stats(self) -> dict[bytes, int]:
        """Return the broker's counters."""
        self.client.send(b"get-runtime-stats")
        while True:
            frames = self.client.recv_multipart()
            if len(frames) > 2:
                return {name: int(value) for name, value in zip(frames[::2], frames[1::2], strict=True)}
            self.accepted += frames[0] == b"accept"

    def await_workers(self) -> None:
        """Wait until all workers are known."""
        while self.stats()[b"worker-count"] < len(self._workers):
            time.sleep(0.01)


def through(clients: int, workers_port: int, jobs: int, queued: int, workers: int, groups: int) -> Figures:
    """Keep the queue as deep as wanted, and count how fast jobs go through it."""
    load = Load(Ports(clients, workers_port), workers, groups)
    load.await_workers()
    window = queued + _SLACK * workers
    for _ in range(window):
        load.submit()
        if load.accepted + 1000 < window:
            load.turn()
    while load.accepted < window:
        load.turn()
    print("go", flush=True)
    started, ends = time.perf_counter(), time.monotonic() + _LIMIT
    load.release()
    sent = 0
    while load.done < jobs and time.monotonic() < ends:
        while sent < min(load.done, jobs):
            load.submit()
            sent += 1
        load.turn()
    load.hold = True
    while load.stats()[b"evaluated-jobs"] < load.done:
        time.sleep(0.001)
    return {"jobs_per_s": load.done / (time.perf_counter() - started)}


def delays(clients: int, workers_port: int, jobs: int, pause: float) -> Figures:
    """Submit at a steady pace; return how soon jobs are accepted and given to workers."""
    load = Load(Ports(clients, workers_port), 8, 1)
    load.await_workers()
    load.hold = False
    born: list[float] = []
    found: dict[str, list[float]] = {"accepted": [], "given": []}
    begun = time.perf_counter()
    while len(found["given"]) < jobs or len(found["accepted"]) < jobs:
        if len(born) < jobs and time.perf_counter() >= begun + len(born) * pause:
            born.append(time.perf_counter())
            load.submit()
        for event, number, at in load.turn(1):
            found[event].append((at - born[number]) * 1e3)
    return {f"{event}_{name}_ms": value for event, values in found.items() for name, value in _spread(values).items()}


def _spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p99": cuts[98]}


def main() -> None:
    """Be the client and the workers of one measurement."""
    what, *numbers = sys.argv[1:]
    if what == "through":
        figures = through(*map(int, numbers))
    else:
        clients, workers, jobs = map(int, numbers[:3])
        figures = delays(clients, workers, jobs, float(numbers[3]))
    print(json.dumps(figures), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
