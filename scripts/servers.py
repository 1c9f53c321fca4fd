"""Starts `crossdock serve` and other programs for the demo and for tests, and makes sure that none outlives them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

READY_SECONDS = 30
STOP_SECONDS = 5
CROSSDOCK = Path(sys.executable).with_name("crossdock")


class StartError(RuntimeError):
    """A program did not get ready. The text ends with the last lines it said."""


class Program:
    """A child process in a process group of its own, with its output in a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, cwd: Path | None = None) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    @property
    def pid(self) -> int:
        """The number of the newest process."""
        return self._running().pid

    def start(self) -> None:
        """Start the program; a second start comes after an end."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._groups.append(self._process.pid)

    def alive(self) -> bool:
        """Tell whether the process is there."""
        return self._running().poll() is None

    def kill(self) -> None:
        """End the process, and only it, with SIGKILL."""
        self._running().kill()
        self._running().wait()

    def stop(self) -> int:
        """Ask the process to end, then to end at once, then end whatever is left of its groups; return its status."""
        process = self._running()
        for _ in range(2):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        return process.wait()

    def said(self, lines: int = 30) -> str:
        """Return the last lines of output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StartError(f"{self.command[0]} was not started")
        return self._process


class Server(Program):
    """`crossdock serve [APP]` on loopback, with its data in a directory.

    Args:
        app: ``file.py:app``; None serves what the settings say.
        data: the data directory; the log is beside it.
        port: where to listen; a free port without one.
        settings: options of the form SECTION.KEY=VALUE.
        cwd: the working directory, where ``crossdock.toml`` is looked for.
    """

    def __init__(
        self, app: str | None, data: Path, *, port: int | None = None, settings: Sequence[str] = (), cwd: Path | None = None
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        options = [f"http.listen=127.0.0.1:{self.port}", *settings]
        command = [CROSSDOCK, "serve", *([app] if app else []), "--data", data]
        for option in options:
            command += ["--set", option]
        super().__init__(command, data.with_suffix(".log"), cwd)

    def start(self) -> None:
        """Start the server; on return it takes jobs."""
        super().start()
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"{self.url}/readyz"):
            if not self.alive() or time.monotonic() > deadline:
                raise StartError(f"the server did not start: {' '.join(self.command)}\n{self.said()}")
            time.sleep(0.02)


@contextlib.contextmanager
def running(program: Program) -> Iterator[Program]:
    """Have a program run for the length of a ``with`` block."""
    try:
        program.start()
        yield program
    finally:
        program.stop()


def answers(url: str) -> bool:
    """Tell whether a GET of ``url`` succeeds now."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def free_port(wanted: int = 0) -> int:
    """Return ``wanted`` if nobody listens there, else a free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
    raise StartError("there is no free port")
