"""A server with a worker beside it, under load, and the faults that are done to them."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from servers import CROSSDOCK, Program, Server

from faults.history import History, violations
from faults.judge import read_back
from faults.load import Load, Receiver
from faults.rude import RudeWorker

APP = f"{Path(__file__).with_name('app.py')}:app"
PLANTED = Path(__file__).with_name("planted.py")
GONE_SECONDS = 0.5
FROZEN_SECONDS = 2.6
"""Longer than the leases of the app, which are 2 seconds."""


class Scene:
    """Who takes part, and what was seen of it."""

    def __init__(self, server: Server, worker: Program, seed: int) -> None:
        self.server = server
        self.worker = worker
        self.history = History()
        self.receiver = Receiver(self.history)
        self.load = Load(server.url, self.history, self.receiver)
        self.rude = RudeWorker(server.url, self.history)
        self._draw = random.Random(seed)

    def pause(self) -> None:
        """Let a random, short time pass."""
        time.sleep(self._draw.uniform(0.05, 0.4))

    def kill_server(self) -> None:
        """Kill the server; its children must be gone soon after; start it again."""
        self._kill(self.server)

    def kill_worker(self) -> None:
        """Kill the worker process; its children must be gone soon after; start it again."""
        self._kill(self.worker)

    def kill_child(self) -> None:
        """Kill one process that runs functions, of the server or of the worker."""
        family = [psutil.Process(program.pid) for program in (self.server, self.worker)]
        children = [child for parent in family for child in parent.children(recursive=True)]
        if children:
            self._draw.choice(children).kill()

    def freeze_worker(self) -> None:
        """Stop the worker for longer than its leases, so that it comes back to a world that went on without it."""
        os.kill(self.worker.pid, signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        os.kill(self.worker.pid, signal.SIGCONT)

    def judge(self) -> list[str]:
        """End the load, let the server finish, and return what was broken."""
        self.rude.stop()
        self.load.stop()
        with httpx.Client(base_url=self.server.url, timeout=30) as client:
            read_back(client, self.history)
        return violations(self.history)

    def _kill(self, program: Program) -> None:
        children = psutil.Process(program.pid).children(recursive=True)
        program.kill()
        self.history.left += survivors(children)
        program.start()


@contextmanager
def scene(directory: Path, seed: int, bug: str | None = None) -> Iterator[Scene]:
    """Have a server (with a bug planted, if one is named) and a worker under load; end all of it afterwards."""
    server = Server(APP, directory / "data", settings=["worker.slots=2"])
    if bug is not None:
        server.command[:1] = [sys.executable, str(PLANTED), bug]
    worker = Program([CROSSDOCK, "worker", APP, "--connect", server.url, "--slots", "2"], directory / "worker.log")
    server.start()
    worker.start()
    here = Scene(server, worker, seed)
    here.load.start()
    here.rude.start()
    try:
        yield here
    finally:
        here.rude.stop()
        here.load.stop()
        here.receiver.close()
        worker.stop()
        server.stop()


def survivors(processes: list[psutil.Process]) -> list[str]:
    """Return the processes that are still running after a moment; one that nobody has buried yet is not."""
    deadline = time.monotonic() + GONE_SECONDS
    left = processes
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [process for process in left if runs(process)]
    return [str(process) for process in left]


def runs(process: psutil.Process) -> bool:
    """Tell whether a process is running."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
