"""kill -9 at both ends of the link between our worker and our broker, at the pace of the real protocol."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
LIMIT = 60.0


class Process:
    """A process of :mod:`acceptance.recodex.worker_processes`, and the lines it prints."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "acceptance.recodex.worker_processes", *map(str, arguments)],
            cwd=TESTS,
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[dict] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def next(self) -> dict:
        """Return the next line."""
        return self._lines.get(timeout=LIMIT)

    def rest(self) -> list[dict]:
        """Return the lines that have come and were not read."""
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def start():
    """Return a function that starts processes, which are killed with the test."""
    started: list[Process] = []

    def begin(*arguments):
        started.append(Process(*arguments))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.mark.parametrize("moment", [0.3, 1.0, 1.6, 2.4])
def test_the_broker_is_killed_while_jobs_run(start, tmp_path, moment):
    """The jobs go on, run once, and end at the broker that comes after it."""
    server = start("server", tmp_path, 0, 4)
    port = server.next()["ready"]
    worker = start("worker", port, "one", 2.0)
    begun = [worker.next() for _ in range(4)]
    time.sleep(moment)
    server.kill()
    time.sleep(1.0)
    server = start("server", tmp_path, port, 0)
    server.next()
    ended = {line["ended"]: (line["state"], line["attempts"]) for line in [server.next() for _ in range(4)]}
    assert ended == {line["began"]: ("succeeded", 1) for line in begun}
    assert worker.rest() == []


def test_a_killed_worker_is_missed_after_four_to_five_seconds(start, tmp_path):
    server = start("server", tmp_path, 0, 1)
    port = server.next()["ready"]
    first = start("worker", port, "first", 600)
    job = first.next()["began"]
    second = start("worker", port, "second", 0)
    time.sleep(1.0)
    first.kill()
    killed = time.monotonic()
    assert second.next()["began"] == job
    assert 3.0 < time.monotonic() - killed < 15.0
    ended = server.next()
    assert (ended["ended"], ended["state"], ended["attempts"], ended["worker"]) == (job, "succeeded", 2, "second")
