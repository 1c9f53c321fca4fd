"""`crossdock worker` processes at a jobs queue, and jobs that are held until a test lets them go."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from servers import CROSSDOCK, Program

from rabbit import Vhost

APP = f"{Path(__file__).with_name('worker_app.py')}:app"
PATIENCE = 60.0


def eventually(fact: Callable[[], object], what: str) -> None:
    """Wait for something that nobody tells about."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


class Held:
    """Jobs of the function ``hold``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def params(self, name: str) -> dict[str, str]:
        return {"name": name, "folder": str(self.folder)}

    def runs(self, name: str) -> list[int]:
        """Return the processes that have begun the job, in order."""
        path = self.folder / f"{name}.runs"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def begun(self, name: str, times: int = 1) -> int:
        """Wait until the job has begun so many times; return the process that did last."""
        eventually(lambda: len(self.runs(name)) >= times, f"{name} begins for the {times}. time")
        return self.runs(name)[times - 1]

    def enough(self, name: str) -> None:
        (self.folder / f"{name}.enough").touch()


class Site:
    """The workers of one test."""

    def __init__(self, vhost: Vhost, folder: Path) -> None:
        self.vhost = vhost
        self.folder = folder
        self.held = Held(folder / "held")
        self.workers: dict[int, Program] = {}
        self._stack = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return f"jsonbus+{self.vhost.url}"

    def worker(self, node: str, *options: str, parameters: str = "") -> Program:
        """Start a worker, and wait until it takes jobs."""
        url = f"{self.url}?node={node}{parameters}"
        log = self.folder / f"worker{len(self.workers)}.log"
        program = Program([CROSSDOCK, "worker", APP, "--connect", url, *(options or ("--slots", "1"))], log, self.folder)
        program.start()
        self._stack.callback(program.stop)
        self.workers[program.pid] = program
        eventually(lambda: "jobs come from the queue" in program.said() or not program.alive(), "a worker that takes jobs")
        assert program.alive(), program.said()
        eventually(lambda: self.consumers() >= len([one for one in self.workers.values() if one.alive()]), "its consumer")
        return program

    def consumers(self) -> int:
        """Return how many consume jobs."""
        return sum(int(count) for name, (count,) in self.vhost.queues("consumers").items() if name.endswith(("jobs",)))

    def drained(self, worker: Program) -> int:
        """Wait for the end of a worker that was asked to end; return its status."""
        process = worker._process
        assert process is not None
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(worker.said()) from None

    @staticmethod
    def drain(worker: Program) -> None:
        assert worker._process is not None
        worker._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def site_at(vhost: Vhost, folder: Path) -> Iterator[Site]:
    """Give a site whose workers end with the block."""
    site = Site(vhost, folder)
    try:
        yield site
    finally:
        site.close()
