"""Real `crossdock` processes: a server on a free port, and commands that talk to it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CROSSDOCK = Path(sys.executable).with_name("crossdock")
PATIENCE = 30.0

APP = '''
import asyncio, os, time
from crossdock import App, Context, Failed

app = App()

@app.function("add")
def add(a: int, b: int = 1) -> int:
    return a + b

@app.function("echo", raw=True)
async def echo(ctx: Context, payload: object) -> object:
    return payload

@app.function("fail")
def fail(code: str = "wrong") -> None:
    raise Failed("it cannot be done", code=code)

@app.function("gate")
def gate(ctx: Context, path: str) -> str:
    """Says that it runs, and returns once the file is there."""
    with open(path + ".runs", "a") as log:
        log.write(f"{ctx.attempt}\\n")
    for turn in range(100_000):
        if os.path.exists(path):
            return "open"
        ctx.progress(turn, 0, "waiting at the gate")
        time.sleep(0.02)

@app.function("slow_async")
async def slow_async(ctx: Context, path: str) -> str:
    with open(path + ".runs", "a") as log:
        log.write(f"{ctx.attempt}\\n")
    while not os.path.exists(path):
        await asyncio.sleep(0.02)
    return "open"
'''


@pytest.fixture(autouse=True)
def _acceptance(request):
    request.node.add_marker(pytest.mark.acceptance)


@dataclass
class Process:
    """A started command, and what it has said so far."""

    popen: subprocess.Popen
    said: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stderr:
            with self._heard:
                self.said.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self.said.append("")
            self._heard.notify_all()

    def heard(self, pattern: str) -> re.Match:
        """Wait until a line matches."""
        found: list[re.Match] = []

        def look() -> bool:
            found[:] = [match for line in self.said if (match := re.search(pattern, line))]
            return bool(found) or self.said[-1:] == [""]

        with self._heard:
            self._heard.wait_for(look, PATIENCE)
        assert found, f"{pattern!r} was not said, but: {self.said}"
        return found[0]

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@contextlib.contextmanager
def starting(directory: Path) -> Iterator:
    """Give a function that starts a command in a directory and its own process group, which is killed at the end."""
    processes: list[Process] = []

    def start(*arguments: str | Path, environ: dict[str, str] | None = None, **options) -> Process:
        popen = subprocess.Popen(
            [CROSSDOCK, *map(str, arguments)],
            cwd=directory,
            env=environment(environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        processes.append(Process(popen))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            kill_group(process.popen.pid)
            process.popen.wait(PATIENCE)


def serving(start, *arguments: str | Path, app: str | None, **options) -> Process:
    """Start a server and wait until it listens."""
    named = [app] if app else []
    process = start("serve", *named, "--data", "data", "--listen", "127.0.0.1:0", *arguments, **options)
    process.url = process.heard(r"listening on (https?://\S+)")[1]
    return process


@pytest.fixture
def start(tmp_path) -> Iterator:
    """Return a function that starts a command, which is killed at the end of the test."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory) -> Iterator:
    """Return a function that starts a server in a directory, for all tests of a module."""
    with contextlib.ExitStack() as stack:

        def serve_once(directory: Path, *arguments: str | Path, app: str | None = None) -> Process:
            return serving(stack.enter_context(starting(directory)), *arguments, app=app)

        yield serve_once


def environment(additions: dict[str, str] | None) -> dict[str, str]:
    """Return our environment without settings of our own, and with additions."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CROSSDOCK_")} | (additions or {})


def kill_group(pid: int) -> None:
    """Kill a process and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def app_file(tmp_path) -> str:
    (tmp_path / "app.py").write_text(APP)
    return "app.py:app"


@pytest.fixture
def serve(start, app_file):
    """Return a function that starts a server and waits until it listens."""

    def serve(*arguments: str | Path, app: str | None = app_file, **options) -> Process:
        return serving(start, *arguments, app=app, **options)

    return serve


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command to its end."""

    def run(*arguments: str | Path, server: Process | None = None, stdin: str = "", environ: dict[str, str] | None = None):
        env = environment(environ)
        if server is not None:
            env["CROSSDOCK_SERVER"] = server.url
        return subprocess.run(
            [CROSSDOCK, *map(str, arguments)],
            cwd=tmp_path,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def wait_for():
    """Return a function that waits until a condition holds."""

    def wait_for(condition, what: str = "the condition"):
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.02)
        return value

    return wait_for


@pytest.fixture
def command() -> Path:
    return CROSSDOCK
