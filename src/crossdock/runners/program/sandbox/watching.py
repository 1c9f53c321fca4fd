"""Watching a box while it runs: CPU and wall time, memory where no kernel counts it, disk, and a wish to cancel."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from crossdock.runners.program.sandbox.cgroups import Cgroup
from crossdock.runners.program.sandbox.judging import Stop
from crossdock.runners.program.sandbox.spec import Limits

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_POLL: Final = 0.02
_DISK_POLL: Final = 0.1
_STARTING_READINGS: Final = 5
_DISK_SHARE: Final = 10
"""Counting files may take at most one part in so many of the time, whatever it finds."""


class Usage(NamedTuple):
    """What a box uses: seconds of CPU so far, bytes now, processes and threads now. Zero where the kernel limits it."""

    cpu: float
    memory: int = 0
    tasks: int = 0


class Meter(Protocol):
    """Tells what a box uses."""

    def read(self) -> Usage:
        """Return what is used now."""
        ...


class CgroupMeter:
    """Reads a cgroup: exact, whole, cheap. Memory and processes are the kernel's business."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup

    def read(self) -> Usage:
        """Return the seconds of CPU; running out of memory counts as more of it than any limit."""
        return Usage(self._cgroup.cpu(), 2**62 if self._cgroup.out_of_memory() else 0)


class TreeMeter:
    """Adds up the processes below one, from /proc. What ended between two readings is known from who reaped it.

    Args:
        root: the process above all of the box. Its own use is not the program's.
        memory: the limit, near which shared memory is told apart at some cost.
    """

    def __init__(self, root: int, memory: int) -> None:
        self._root = root
        self._memory = memory
        self._starts = _STARTING_READINGS
        self._own: dict[tuple[int, int], float] = {}
        """The CPU of every process ever seen, by number and start: where its parent ignores it, nobody adds it up."""

    def read(self) -> Usage:
        """Return the sums."""
        reaped, memory, tasks = self._reaped(self._root), 0, 0
        pids = self._programs()
        for pid in pids:
            with suppress(OSError, IndexError, ValueError):
                fields = _stat(pid)
                own = (int(fields[11]) + int(fields[12])) / _TICK
                reaped += own + (int(fields[13]) + int(fields[14])) / _TICK
                self._own[pid, int(fields[19])] = own
                tasks += int(fields[17])
                memory += int(fields[21]) * _PAGE
        if memory > self._memory and len(pids) > 1:
            memory = sum(map(_proportional, pids))
        return Usage(max(reaped, sum(self._own.values())), memory, tasks)

    def _programs(self) -> list[int]:
        """Return the processes, at first without the one that is still a copy of the root and about to be the program."""
        pids = _below(self._root)
        if not self._starts:
            return pids
        self._starts -= 1
        with suppress(OSError):
            root = _read(f"/proc/{self._root}/cmdline")
            pids = [pid for pid in pids if _read(f"/proc/{pid}/cmdline") != root]
        return pids

    @staticmethod
    def _reaped(pid: int) -> float:
        with suppress(OSError, IndexError):
            fields = _stat(pid)
            return (int(fields[13]) + int(fields[14])) / _TICK
        return 0.0


class Watch:
    """Ends a wait when the program has ended, a limit is passed, or somebody cancels.

    Args:
        limits: what may be used.
        meter: what is used.
        full: tells whether the disk limits are passed.
        tasks: processes and threads there may be; None: the kernel sees to it.
    """

    def __init__(self, limits: Limits, meter: Meter, full: Callable[[], bool], tasks: int | None) -> None:
        self._limits = limits
        self._meter = meter
        self._full = full
        self._tasks = tasks
        self._disk_at = 0.0
        self.cpu = 0.0
        self.memory = 0
        self.wall = 0.0

    def until_end(self, process: int, cancelled: int) -> Stop:
        """Wait for the end of ``process`` (a pidfd), or for ``cancelled`` to be readable; return why it has to be ended."""
        ends = select.poll()
        ends.register(process, select.POLLIN)
        ends.register(cancelled, select.POLLIN)
        started = time.monotonic()
        self._disk_at = _DISK_POLL
        while True:
            self.wall = time.monotonic() - started
            if stop := self._check():
                return stop
            found = ends.poll(self._pause() * 1000)
            if found:
                self.wall = time.monotonic() - started
                return "" if any(descriptor == process for descriptor, _ in found) else "cancelled"

    def look(self) -> None:
        """Read the meter once more, where it still tells something after the end."""
        usage = self._meter.read()
        self.cpu = max(self.cpu, usage.cpu)

    def _check(self) -> Stop:
        limits, usage = self._limits, self._meter.read()
        self.cpu = max(self.cpu, usage.cpu)
        if usage.memory > limits.memory:
            return "memory"
        self.memory = max(self.memory, usage.memory)
        if self.cpu > limits.cpu + limits.extra:
            return "cpu"
        if self.wall > limits.wall + limits.extra:
            return "wall"
        if self._tasks is not None and usage.tasks > self._tasks:
            return "processes"
        return "disk" if self._disk_full() else ""

    def _disk_full(self) -> bool:
        if self.wall < self._disk_at:
            return False
        started = time.monotonic()
        full = self._full()
        self._disk_at = self.wall + max(_DISK_POLL, _DISK_SHARE * (time.monotonic() - started))
        return full

    def _pause(self) -> float:
        limits = self._limits
        left = min((limits.cpu + limits.extra - self.cpu) / 2, limits.wall + limits.extra - self.wall)
        return min(_POLL, max(0.001, left))


def scratch_inodes(root: int, places: tuple[str, ...]) -> int:
    """Return the files in the memory file systems of a box, whose count nothing else limits."""
    most = 0
    for place in places:
        with suppress(OSError):
            found = os.statvfs(f"/proc/{root}/root{place}")
            most = max(most, found.f_files - found.f_ffree)
    return most


def _below(root: int) -> list[int]:
    """Return the processes below ``root``; who lost a parent is below it too, since it takes them over."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - several thousand times a second
                children = [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
                found += children
                todo += children
    return found


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat after the name, so that the third of proc(5) is the first here."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _proportional(pid: int) -> int:
    """Return the memory of a process, shared pages divided by those who share them."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, IndexError):
        return int(_stat(pid)[21]) * _PAGE
    return 0


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
