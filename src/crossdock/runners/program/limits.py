"""From the limits of a job configuration and the worker's own to those of a box."""

from typing import Final

from crossdock.runners.program.endings import EvaluationErrored
from crossdock.runners.program.jobconfig import Box, HardwareLimits
from crossdock.runners.program.sandbox.spec import Limits
from crossdock.runners.program.settings import WorkerLimits

_KIB: Final = 1024


def limits_for(box: Box, group: str) -> HardwareLimits:
    """Return the limits that a task has on workers of a hardware group; all open if it names none for that."""
    return next((limits for limits in box.limits if limits.group == group), HardwareLimits(group=group))


def box_limits(asked: HardwareLimits, own: WorkerLimits, task: str) -> Limits:
    """Return the limits of a box.

    Raises:
        EvaluationErrored: more is asked for than this worker gives.
    """
    time = _least(asked.time, own.time, f"task {task!r}: time")
    wall = _least(asked.wall_time, own.wall_time, f"task {task!r}: wall-time")
    extra = _least(asked.extra_time, own.extra_time, f"task {task!r}: extra-time")
    memory = _least(_bytes(asked.memory), own.memory, f"task {task!r}: memory")
    extra_memory = _least(_bytes(asked.extra_memory), own.extra_memory, f"task {task!r}: extra-memory")
    stack = _least(_bytes(asked.stack_size), own.stack, f"task {task!r}: stack-size")
    disk = _least(_bytes(asked.disk_size), own.disk, f"task {task!r}: disk-size")
    files = _least(asked.disk_files, own.disk_files, f"task {task!r}: disk-files")
    processes = _least(asked.parallel, own.processes, f"task {task!r}: parallel")
    return Limits(
        cpu=time,
        wall=wall,
        extra=extra,
        memory=int(memory + extra_memory),
        stack=int(stack) or None,
        file_size=int(disk),
        processes=int(processes) or None,
        disk=int(disk),
        inodes=int(files),
        scratch=own.scratch,
        open_files=own.open_files,
    )


def _least(asked: float | None, own: float, what: str) -> float:
    """Return what is given: what is asked for, unless it is nothing or without a limit, which only the worker decides."""
    if not asked or not own:
        return asked or own
    if asked > own:
        raise EvaluationErrored(f"{what} of {asked:g} is more than the {own:g} that this worker allows")
    return asked


def _bytes(kibibytes: int | None) -> int | None:
    return None if kibibytes is None else kibibytes * _KIB
