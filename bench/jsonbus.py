"""json-bus nodes, Celery and Dramatiq as processes at one private RabbitMQ, under the same load.

Each system gets a virtual host of its own and ends before the next one begins.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from scripts.rabbit_node import Node, scripts

from bench import celery_peer, dramatiq_replies
from bench.child import Figures, measure

_START: Final = 90.0
_END: Final = 20.0
_SLOTS: Final = 8
_AHEAD: Final = 3 * _SLOTS
"""Jobs that a worker has beside those that run, as Celery's do of themselves."""
_GIVEN: Final = 8 * _SLOTS
"""Jobs that a node gives to its worker before it has a result."""
_WARM: Final = 200
_APP: Final = Path(__file__).with_name("jsonbus_app.py")
_CROSSDOCK: Final = str(Path(sys.executable).with_name("crossdock"))
_numbers: Final = itertools.count(1)


class Site(NamedTuple):
    """A system that can be asked: where, in whose words, for what, and which processes it consists of."""

    url: str
    system: str
    what: str | int
    processes: Mapping[str, list[psutil.Process]]


def available() -> bool:
    """Tell whether there is a RabbitMQ to start."""
    return scripts() is not None


@contextmanager
def rabbit() -> Generator[Node]:
    """Run a RabbitMQ node of our own, with its data where temporary files are."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        node = Node(Path(place) / "node")
        try:
            node.start()
            yield node
        finally:
            node.close()


def throughput(site: Site, jobs: int, in_flight: int) -> Figures:
    """Have ``jobs`` requests answered, ``in_flight`` of them under way; with the processor time of everybody for each."""
    before = _processor(site)
    figures = measure(
        "jsonbus_load:throughput", url=site.url, system=site.system, what=site.what, jobs=jobs, in_flight=in_flight
    )
    used = {name: seconds - before[name] for name, seconds in _processor(site).items()}
    return {**figures, **{f"{name}_cpu_us": seconds / (jobs + min(_WARM, jobs)) * 1e6 for name, seconds in used.items()}}


def latency(site: Site, jobs: int, rate: float) -> Figures:
    """Have requests answered that come at ``rate`` a second."""
    return measure("jsonbus_load:latency", url=site.url, system=site.system, what=site.what, jobs=jobs, rate=rate)


def _processor(site: Site) -> dict[str, float]:
    """Return the processor time that everybody has used, with their children."""
    return {name: sum(map(_seconds, processes)) for name, processes in site.processes.items()}


def _seconds(process: psutil.Process) -> float:
    tree = (process, *process.children(recursive=True))
    return sum(times.user + times.system for times in (one.cpu_times() for one in tree))


# Who can be asked


@contextmanager
def local(node: Node, subject: str = "empty") -> Generator[Site]:
    """Run a node whose own worker has the slots."""
    with _stage(node) as stage:
        server = stage.serve("node", "[worker]", f"slots = {_SLOTS}", app="node")
        stage.await_consumers("svc.node.requests")
        yield stage.site("jsonbus_requests", subject, server=[server])


@contextmanager
def behind(node: Node, subject: str = "empty") -> Generator[Site]:
    """Run a node and, behind a jobs queue, one ``crossdock worker`` that has the slots."""
    with _stage(node) as stage:
        backend = ("[backends.jsonbus.hands]", 'workers = "own"', f"slots = {_GIVEN}", f'kinds = ["{subject}"]')
        server = stage.serve("node", *backend)
        stage.await_consumers("svc.node.requests", "svc.hands.results")
        connect = f"jsonbus+{stage.vhost.url}?node=hands&ahead={_AHEAD}"
        worker = stage.start([_CROSSDOCK, "worker", f"{_APP}:node", "--connect", connect, "--slots", str(_SLOTS)])
        stage.await_consumers("svc.hands.jobs")
        yield stage.site("jsonbus_requests", subject, server=[server], workers=[worker])


@contextmanager
def chain(node: Node) -> Generator[Site]:
    """Run three nodes, of which each needs the next."""
    with _stage(node) as stage:
        names = ("bottom", "middle", "top")
        servers = [stage.serve(name, "[worker]", f"slots = {_SLOTS}", app=name) for name in names]
        stage.await_consumers(*(f"svc.{name}.requests" for name in names))
        yield stage.site("jsonbus_requests", "top", server=servers)


@contextmanager
def celery(node: Node, steps: int = 1) -> Generator[Site]:
    """Run a Celery worker, or one for each step of a chain."""
    with _peers(node, "celery_peer", celery_peer.command, celery_peer.QUEUES[:steps]) as site:
        yield site


@contextmanager
def dramatiq(node: Node, steps: int = 1) -> Generator[Site]:
    """Run a Dramatiq worker, or one for each step of a pipeline."""
    with _peers(node, "dramatiq_replies", dramatiq_replies.command, dramatiq_replies.QUEUES[:steps]) as site:
        yield site


@contextmanager
def _peers(node: Node, system: str, command: Callable[[str, int], list[str]], queues: Sequence[str]) -> Generator[Site]:
    with _stage(node) as stage:
        workers = [stage.start(command(queue, _SLOTS)) for queue in queues]
        stage.await_consumers(*queues)
        yield stage.site(system, len(queues), workers=workers)


# How they are started


class _Stage:
    """A virtual host, and the processes at it.

    Args:
        node: the broker.
        place: for everybody's data.
        stack: ends the processes.
    """

    def __init__(self, node: Node, place: Path, stack: ExitStack) -> None:
        self.vhost = node.vhost(f"bench{next(_numbers)}")
        self._node = node
        self._place = place
        self._stack = stack
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, command: Sequence[str]) -> psutil.Process:
        """Start a process, which ends with the stage."""
        path = self._place / f"log{len(self._started)}"
        environment = {**os.environ, "CROSSDOCK_BENCH_AMQP": self.vhost.url}
        with path.open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._stack.callback(_stop, process)
        self._started.append((process, path))
        return psutil.Process(process.pid)

    def serve(self, name: str, *lines: str, app: str = "") -> psutil.Process:
        """Start a node with more lines of configuration, and with the functions of an app."""
        key = "requests" if name in ("node", "top") else f"{name}_request"
        text = ("[jsonbus]", f'url = "{self.vhost.url}"', f'node = "{name}"', f'request_key = "{key}"', *lines)
        config = self._place / f"{name}.toml"
        config.write_text("\n".join(text) + "\n")
        data = str(self._place / name)
        command = [_CROSSDOCK, "serve", "--config", str(config), "--data", data, "--listen", "127.0.0.1:0"]
        return self.start([*command, f"{_APP}:{app}"] if app else command)

    def await_consumers(self, *queues: str) -> None:
        """Wait until each of these queues has a consumer."""
        ends = time.monotonic() + _START
        while not all(int(self.vhost.queues("consumers").get(queue, ["0"])[0]) for queue in queues):
            dead = [path for process, path in self._started if process.poll() is not None]
            if dead or time.monotonic() > ends:
                said = "\n".join(path.read_text(errors="replace")[-2000:] for path in dead)
                raise RuntimeError(f"nobody consumes all of {', '.join(queues)}: {said}")
            time.sleep(0.3)

    def site(self, system: str, what: str | int, **processes: list[psutil.Process]) -> Site:
        """Return what can be asked."""
        if self._node.process is None:
            raise RuntimeError("RabbitMQ is not running")
        broker = psutil.Process(self._node.process.pid)
        return Site(self.vhost.url, system, what, {**processes, "rabbitmq": [broker]})


@contextmanager
def _stage(node: Node) -> Generator[_Stage]:
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place, ExitStack() as stack:
        yield _Stage(node, Path(place), stack)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process in order, or else with its children."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        for child in children:
            if child.is_running():
                child.kill()
