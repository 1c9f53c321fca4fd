"""Control groups: what the kernel counts and limits for a box as a whole, in version 2 and in version 1."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from crossdock.runners.program.sandbox.spec import Limits, SandboxError

PREFIX: Final = "crossdock-"
"""All groups of boxes begin like this, followed by the name of their slot."""

_REMOVAL_SECONDS: Final = 10.0
_UNLIMITED_PROCESSES: Final = 1000
"""Even without a limit of processes a box must not use up the numbers of the whole machine."""
_NANOSECONDS: Final = 1e9
_MICROSECONDS: Final = 1e6


class NoCgroups(Exception):
    """There are no cgroups that could be used; the text says why."""


class Cgroup(Protocol):
    """One group, made for one box."""

    def admit(self, pid: int) -> None:
        """Move a process in; its children are born there."""
        ...

    def cpu(self) -> float:
        """Return the seconds of CPU used by all its processes, those that have ended included."""
        ...

    def memory_peak(self) -> int:
        """Return the most bytes it ever held."""
        ...

    def out_of_memory(self) -> bool:
        """Tell whether the kernel ended a process because the limit was reached."""
        ...

    def remove(self) -> None:
        """Kill what is left in it and remove it.

        Raises:
            SandboxError: something in it cannot be ended.
        """
        ...


class Cgroups(Protocol):
    """Where groups are made."""

    kind: str

    def create(self, name: str, limits: Limits) -> Cgroup:
        """Make a group with limits in force."""
        ...

    def sweep(self, prefix: str) -> int:
        """Remove the groups that begin with ``prefix``, with their processes; return how many there were."""
        ...


def find_cgroups() -> Cgroups:
    """Return the cgroups of this machine in which groups with limits can really be made: version 2 if possible, else 1.

    Raises:
        NoCgroups: neither can be used.
    """
    reasons: list[str] = []
    for version in (CgroupsV2, CgroupsV1):
        try:
            found = version.here()
            found.create(f"{PREFIX}probe-{os.getpid()}-{time.monotonic_ns()}", Limits()).remove()
        except (NoCgroups, SandboxError, OSError) as error:
            reasons.append(f"{version.kind}: {error}")
        else:
            return found
    raise NoCgroups("; ".join(reasons))


class CgroupsV2:
    """Version 2 (the unified hierarchy), below the group this process is in."""

    kind = "cgroup v2"

    def __init__(self, base: Path) -> None:
        self._base = base

    @classmethod
    def here(cls) -> "CgroupsV2":
        """Return those below our own group.

        Raises:
            NoCgroups: not mounted, or not ours to divide.
        """
        mount = next((place for kind, place, _ in _mounts() if kind == "cgroup2"), None)
        if mount is None:
            raise NoCgroups("not mounted")
        base = mount / _own_groups().get("", "/").lstrip("/")
        if base.name == _WORKERS:
            base = base.parent
        offered = set((base / "cgroup.controllers").read_text().split())
        if lacking := {"memory", "pids"} - offered:
            raise NoCgroups(f"{base} has no controller for {' and '.join(sorted(lacking))}")
        if not os.access(base / "cgroup.subtree_control", os.W_OK):
            raise NoCgroups(f"{base} is not delegated to this user")
        _divide(base)
        return cls(base)

    def create(self, name: str, limits: Limits) -> Cgroup:
        """Make a group."""
        group = self._base / name
        group.mkdir()
        (group / "memory.max").write_text(str(limits.memory))
        (group / "pids.max").write_text(_tasks(limits))
        with suppress(FileNotFoundError):
            (group / "memory.swap.max").write_text("0")
        return _GroupV2(group)

    def sweep(self, prefix: str) -> int:
        """Remove the groups of a prefix."""
        return _sweep([self._base], prefix)


_WORKERS: Final = "crossdock-worker"
"""Where our own processes go, because only groups without processes can be divided."""


def _divide(base: Path) -> None:
    """Have ``base`` give memory and process limits to its children."""
    control = base / "cgroup.subtree_control"
    if {"memory", "pids"} <= set(control.read_text().split()):
        return
    try:
        control.write_text("+memory +pids")
    except OSError:
        inside = [int(pid) for pid in (base / "cgroup.procs").read_text().split()]
        if strangers := [pid for pid in inside if not _related(pid)]:
            raise NoCgroups(f"{base} also holds processes that are not ours, {strangers[0]} for one") from None
        leaf = base / _WORKERS
        leaf.mkdir(exist_ok=True)
        for pid in inside:
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid))
        control.write_text("+memory +pids")


def _related(pid: int) -> bool:
    """Tell whether a process is this one, above it or below it."""
    own = os.getpid()
    return own in _ancestors(pid) or pid in _ancestors(own)


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


class _GroupV2:
    def __init__(self, group: Path) -> None:
        self._group = group
        self._peak = 0

    def admit(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid))

    def cpu(self) -> float:
        if not (self._group / "memory.peak").exists():  # before Linux 5.19
            self._peak = max(self._peak, int((self._group / "memory.current").read_text()))
        return _table(self._group / "cpu.stat")["usage_usec"] / _MICROSECONDS

    def memory_peak(self) -> int:
        try:
            return int((self._group / "memory.peak").read_text())
        except FileNotFoundError:
            return self._peak

    def out_of_memory(self) -> bool:
        return _table(self._group / "memory.events").get("oom_kill", 0) > 0

    def remove(self) -> None:
        _remove(self._group)


class CgroupsV1:
    """Version 1: one hierarchy for each controller."""

    kind = "cgroup v1"

    def __init__(self, bases: dict[str, Path]) -> None:
        self._bases = bases

    @classmethod
    def here(cls) -> "CgroupsV1":
        """Return those below our own groups.

        Raises:
            NoCgroups: a controller is not mounted, or cannot be written.
        """
        own = _own_groups()
        bases: dict[str, Path] = {}
        for controller in ("memory", "pids", "cpuacct"):
            mount = next((place for kind, place, options in _mounts() if kind == "cgroup" and controller in options), None)
            if mount is None:
                raise NoCgroups(f"{controller} is not mounted")
            bases[controller] = mount / own.get(controller, "/").lstrip("/")
            if not os.access(bases[controller], os.W_OK):
                raise NoCgroups(f"{bases[controller]} cannot be written")
        return cls(bases)

    def create(self, name: str, limits: Limits) -> Cgroup:
        """Make a group in every hierarchy."""
        groups = {controller: base / name for controller, base in self._bases.items()}
        for group in groups.values():
            group.mkdir(exist_ok=True)  # several controllers may share one hierarchy
        memory = groups["memory"]
        (memory / "memory.limit_in_bytes").write_text(str(limits.memory))
        with suppress(OSError):  # without swap there is no such file
            (memory / "memory.memsw.limit_in_bytes").write_text(str(limits.memory))
        (groups["pids"] / "pids.max").write_text(_tasks(limits))
        return _GroupV1(groups)

    def sweep(self, prefix: str) -> int:
        """Remove the groups of a prefix."""
        return _sweep(self._bases.values(), prefix)


class _GroupV1:
    def __init__(self, groups: dict[str, Path]) -> None:
        self._groups = groups

    def admit(self, pid: int) -> None:
        for group in self._groups.values():
            (group / "cgroup.procs").write_text(str(pid))

    def cpu(self) -> float:
        return int((self._groups["cpuacct"] / "cpuacct.usage").read_text()) / _NANOSECONDS

    def memory_peak(self) -> int:
        return int((self._groups["memory"] / "memory.max_usage_in_bytes").read_text())

    def out_of_memory(self) -> bool:
        return _table(self._groups["memory"] / "memory.oom_control").get("oom_kill", 0) > 0

    def remove(self) -> None:
        for group in set(self._groups.values()):
            _remove(group)


def _tasks(limits: Limits) -> str:
    """Return the limit of processes and threads: one more for the first process of the box."""
    return str((limits.processes or _UNLIMITED_PROCESSES) + 1)


def _mounts() -> list[tuple[str, Path, list[str]]]:
    """Return type, place and options of every mount of this process."""
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [(row[2], Path(row[1]), row[3].split(",")) for row in rows]


def _own_groups() -> dict[str, str]:
    """Return the groups of this process by controller; version 2 has the empty name."""
    rows = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def _table(path: Path) -> dict[str, int]:
    """Read lines of a word and a number."""
    return {row[0]: int(row[1]) for line in path.read_text().splitlines() if len(row := line.split()) > 1}


def _sweep(bases: Iterable[Path], prefix: str) -> int:
    groups = {group for base in bases for group in base.glob(f"{prefix}*") if group.is_dir()}
    for group in groups:
        _remove(group)
    return len({group.name for group in groups})


def _remove(group: Path) -> None:
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SandboxError(f"the cgroup {group} cannot be removed: {error}") from error
            _kill(group)
            time.sleep(0.001)
        else:
            return


def _kill(group: Path) -> None:
    with suppress(OSError):
        if (group / "cgroup.kill").exists():
            (group / "cgroup.kill").write_text("1")
            return
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), 9)
