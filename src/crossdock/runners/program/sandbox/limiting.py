"""The limits that each process of a box carries (``setrlimit``), and how many tasks a user already has."""

import math
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from crossdock.runners.program.sandbox.spec import Limits, Tier

_UNLIMITED: Final = 2**64 - 1
_LOCKED_MEMORY: Final = 64 * 1024
_QUEUED_SIGNALS: Final = 4096


def resource_limits(limits: Limits, tier: Tier, other_tasks: int = 0) -> dict[int, int]:
    """Return the limits by the kernel's numbers, as far as this process may hand them on.

    Args:
        limits: what was asked for.
        tier: with a cgroup memory and processes are counted there.
        other_tasks: processes and threads elsewhere that the kernel counts together with those of the box.
    """
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: math.ceil(limits.cpu + limits.extra) + 1,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_STACK: _UNLIMITED if limits.stack is None else limits.stack,
        resource.RLIMIT_MEMLOCK: _LOCKED_MEMORY,
        resource.RLIMIT_SIGPENDING: _QUEUED_SIGNALS,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    if tier != Tier.CGROUP:
        wanted[resource.RLIMIT_DATA] = limits.memory
        wanted[resource.RLIMIT_MSGQUEUE] = 0
        if limits.processes is not None:
            wanted[resource.RLIMIT_NPROC] = limits.processes + 1 + other_tasks
    return {number: min(value, _highest(number)) for number, value in wanted.items()}


def tasks_of(uid: int) -> int:
    """Return the processes and threads of a user."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if entry.stat().st_uid == uid:
                    count += len(os.listdir(entry / "task"))  # noqa: PTH208 - only their number matters
    return count


def _highest(number: int) -> int:
    hard = resource.getrlimit(number)[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard
