"""The clients of ``bench/jsonbus.py``: one process that says what each system's client says, and waits for every answer.

A request is answered when the queue that it named, or that bears the client's name, has delivered its result.
"""

import statistics
import time
import uuid
from importlib import import_module
from itertools import islice

from pamqp import commands

from bench.amqp import Wire
from bench.child import Figures

_LIMIT = 300.0
_WARM = 200


class Load:
    """A client with a queue of its own.

    Args:
        url: of the broker.
        system: the module that makes messages.
        what: what they ask for.
    """

    def __init__(self, url: str, system: str, what: str | int) -> None:
        self._module = import_module(f"bench.{system}")
        self._what = what
        self._queue = f"load-{uuid.uuid4().hex[:8]}_notify"
        self._wire = Wire(url)
        self._wire.call(commands.Queue.Declare(queue=self._queue, durable=True, auto_delete=True))
        if system == "jsonbus_requests":
            self._wire.call(commands.Queue.Bind(queue=self._queue, exchange="jsonbus", routing_key=self._queue))
        self._wire.call(commands.Basic.Consume(queue=self._queue, no_ack=True))

    def through(self, jobs: int, in_flight: int) -> float:
        """Have so many requests answered, with so many under way all the time; return the seconds."""
        letters = self._module.publications(jobs, self._queue, self._what)
        left, waiting = iter(letters.values()), set(letters)
        started = time.perf_counter()
        self._wire.publish(list(islice(left, in_flight)))
        while waiting or self._wire.unconfirmed:
            for body in self._wire.turn(1.0):
                waiting.discard(self._module.answered(body))
                self._wire.publish(list(islice(left, 1)))
            if time.perf_counter() - started > _LIMIT:
                raise RuntimeError(f"{len(waiting)} requests are not answered")
        return time.perf_counter() - started

    def paced(self, jobs: int, rate: float) -> list[float]:
        """Send so many requests at a steady rate a second; return the seconds until each was answered."""
        letters = list(self._module.publications(jobs, self._queue, self._what).items())
        born: dict[str, float] = {}
        took: list[float] = []
        begun = time.perf_counter()
        while len(took) < jobs:
            now = time.perf_counter()
            if len(born) < jobs and now >= begun + len(born) / rate:
                name, letter = letters[len(born)]
                born[name] = now
                self._wire.publish([letter])
            wait = begun + len(born) / rate - time.perf_counter() if len(born) < jobs else 1.0
            answers = map(self._module.answered, self._wire.turn(max(0.0, wait)))
            took += [time.perf_counter() - born[name] for name in answers]
            if now - begun > _LIMIT:
                raise RuntimeError(f"{jobs - len(took)} requests are not answered")
        return took


async def throughput(url: str, system: str, what: str | int, jobs: int, in_flight: int) -> Figures:
    """Have requests answered as fast as can be."""
    load = Load(url, system, what)
    load.through(min(_WARM, jobs), in_flight)
    cpu = time.process_time()
    seconds = load.through(jobs, in_flight)
    return {"requests_per_s": jobs / seconds, "load_cpu_us": (time.process_time() - cpu) / jobs * 1e6}


async def latency(url: str, system: str, what: str | int, jobs: int, rate: float) -> Figures:
    """Have requests answered at a steady rate."""
    load = Load(url, system, what)
    load.through(_WARM // 4, 1)
    cuts = statistics.quantiles(load.paced(jobs, rate), n=100)
    return {"p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3}
