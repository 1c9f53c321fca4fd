"""Servers as processes of their own, ended by their owner."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

_START: Final = 30.0


class Served(NamedTuple):
    """A running server: its port on the loopback interface and its process."""

    port: int
    process: psutil.Process

    def processor_seconds(self) -> float:
        """Return the processor time that the process itself has used."""
        used = self.process.cpu_times()
        return used.user + used.system

    def resident_mb(self) -> float:
        """Return the megabytes of memory that the process itself holds."""
        return self.process.memory_info().rss / 1e6


@contextmanager
def crossdock(app: str, slots: int) -> Generator[Served]:
    """Run ``crossdock serve`` with the functions of a module here, and data on disk in a new directory."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        port = _free_port()
        command = [str(Path(sys.executable).with_name("crossdock")), "serve", f"{Path(__file__).with_name(app)}.py:app"]
        command += ["--data", place, "--listen", f"127.0.0.1:{port}", "--set", f"worker.slots={slots}"]
        with _running(command, port) as served:
            yield served


@contextmanager
def quick_server() -> Generator[Served]:
    """Run quick_server from PyPI."""
    port = _free_port()
    with _running([sys.executable, "-m", "bench.quick_app", str(port)], port) as served:
        yield served


@contextmanager
def _running(command: list[str], port: int) -> Generator[Served]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait_for(process, port)
            yield Served(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + _START
    while time.monotonic() < ends and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not listen")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
