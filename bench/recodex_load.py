"""The other end of ``bench/recodex.py``, in a process of its own: a client and plain workers, which only say the protocol.

They know nothing of the broker but its ports. If asked for, a web application that takes every call is here too.
"""

import json
import os
import select
import socket
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from bench.child import Figures
from bench.receiver import Receiver
from bench.zmtp import Dealer

_LIMIT: Final = 300.0
_PING: Final = 1.0
_SLACK: Final = 2
"""Jobs per worker that are on their way when nothing should be queued."""


Event = tuple[str, int, float]
"""What became of which job, and when."""


class Load:
    """A client, workers, and perhaps a web application, in one loop.

    Args:
        clients: the port of the clients' door.
        port: the port of the workers' door.
        calls: the descriptor that the web application listens at, 0 if there is none.
        workers: how many there are.
        groups: over how many hardware groups they and the jobs are spread.
    """

    def __init__(self, clients: int, port: int, calls: int, workers: int, groups: int) -> None:
        self._groups = groups
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[], object]] = {}
        self._client = Dealer(clients)
        self._workers = [Dealer(port) for _ in range(workers)]
        for peer in (self._client, *self._workers):
            self._watch(peer.fileno(), partial(self._listen, peer))
        for number, worker in enumerate(self._workers):
            worker.send(b"init", b"group%d" % (number % groups), b"env=c")
            worker.flush()
        self.receiver = Receiver(socket.socket(fileno=calls), self._watch) if calls else None
        self._pinged = time.perf_counter()
        self._sent = 0
        self.accepted = 0
        self.done = 0
        self.hold = True
        self._held: deque[tuple[Dealer, bytes]] = deque()
        self._events: list[Event] = []
        self._stats: dict[bytes, int] | None = None

    def _watch(self, descriptor: int, ready: Callable[[], object]) -> None:
        self._poll.register(descriptor, select.EPOLLIN)
        self._ready[descriptor] = ready

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def submit(self) -> int:
        """Send a job for the next group with the next :meth:`turn`; return its number."""
        number = self._sent
        self._sent += 1
        urls = (b"http://fs/archives/%d.zip" % number, b"http://fs/results/%d.zip" % number)
        group = b"hwgroup=group%d" % (number % self._groups)
        self._client.send(b"eval", b"job%d" % number, group, b"env=c", b"", *urls)
        return number

    def turn(self, wait: float = 0.05) -> list[Event]:
        """Answer what has come, or comes within ``wait`` seconds; return what became of jobs."""
        now = time.perf_counter()
        if now - self._pinged >= _PING:
            self._pinged = now
            for worker in self._workers:
                worker.send(b"ping")
                worker.flush()
        self._client.flush()
        for descriptor, _ in self._poll.poll(wait):
            self._ready[descriptor]()
        events, self._events = self._events, []
        return events

    def _listen(self, peer: Dealer) -> None:
        for frames in peer.receive():
            if frames[0] == b"eval":
                self._events.append(("given", int(frames[1][3:]), time.perf_counter()))
                if self.hold:
                    self._held.append((peer, frames[1]))
                else:
                    self._finish(peer, frames[1])
            elif frames[0] == b"accept":
                self._events.append(("accepted", self.accepted, time.perf_counter()))
                self.accepted += 1
            elif frames[0] == b"reject":
                raise RuntimeError(f"a job was rejected: {frames}")
            elif len(frames) > 2:
                self._stats = {name: int(value) for name, value in zip(frames[::2], frames[1::2], strict=True)}

    def _finish(self, worker: Dealer, job: bytes) -> None:
        worker.send(b"done", job, b"OK", b"")
        worker.flush()
        self.done += 1

    def release(self) -> None:
        """End what the workers hold, and hold nothing more."""
        self.hold = False
        while self._held:
            self._finish(*self._held.popleft())

    def stats(self) -> dict[bytes, int]:
        """Return the broker's counters."""
        self._stats = None
        self._client.send(b"get-runtime-stats")
        while self._stats is None:
            self.turn()
        return self._stats

    def await_workers(self) -> None:
        """Wait until all workers are known."""
        while self.stats()[b"worker-count"] < self.size:
            time.sleep(0.01)


def through(load: Load, jobs: int, queued: int) -> Figures:
    """Keep the queue as deep as wanted, and count how fast jobs go through it."""
    _fill(load, queued + _SLACK * load.size)
    print("go", flush=True)
    started, ends, cpu = time.perf_counter(), time.monotonic() + _LIMIT, time.process_time()
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
    figures = {"jobs_per_s": load.done / (time.perf_counter() - started)}
    if load.receiver is not None:
        while load.receiver.calls < load.done and time.monotonic() < ends:
            load.turn()
        figures["calls_per_s"] = load.receiver.calls / (time.perf_counter() - started)
    return {**figures, "load_cpu_us_per_job": (time.process_time() - cpu) / load.done * 1e6}


def _fill(load: Load, jobs: int) -> None:
    for _ in range(jobs):
        load.submit()
        if load.accepted + 1000 < jobs:
            load.turn()
    while load.accepted < jobs:
        load.turn()


def delays(load: Load, jobs: int, pause: float) -> Figures:
    """Submit at a steady pace; return how soon jobs are accepted and given to workers."""
    load.hold = False
    born: list[float] = []
    found: dict[str, list[float]] = {"accepted": [], "given": []}
    begun = time.perf_counter()
    while len(found["given"]) < jobs or len(found["accepted"]) < jobs:
        if len(born) < jobs and time.perf_counter() >= begun + len(born) * pause:
            born.append(time.perf_counter())
            load.submit()
        for event, number, at in load.turn(0.001):
            found[event].append((at - born[number]) * 1e3)
    return {f"{event}_{name}_ms": value for event, values in found.items() for name, value in _spread(values).items()}


def _spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p99": cuts[98]}


def main() -> None:
    """Be the load of one measurement."""
    what, clients, port, calls, jobs, *more = sys.argv[1:]
    if what == "through":
        queued, workers, groups = map(int, more)
        load = Load(int(clients), int(port), int(calls), workers, groups)
        load.await_workers()
        figures = through(load, int(jobs), queued)
    else:
        load = Load(int(clients), int(port), int(calls), 8, 1)
        load.await_workers()
        figures = delays(load, int(jobs), float(more[0]))
    print(json.dumps(figures), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
