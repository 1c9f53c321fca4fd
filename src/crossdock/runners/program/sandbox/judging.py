"""From what was seen of a program to the verdict on it."""

import os
import signal
from typing import Final, Literal

from msgspec import Struct

from crossdock.runners.program.sandbox.spec import Exceeded, Limits, Status, Tier, Verdict

Stop = Literal["", "cpu", "wall", "memory", "disk", "processes", "cancelled"]
"""Why we ended a program; empty: it ended by itself."""

_MESSAGES: Final[dict[Exceeded, str]] = {
    "cpu": "Time limit exceeded",
    "wall": "Time limit exceeded (wall clock)",
    "memory": "Memory limit exceeded",
    "output": "File size limit exceeded",
    "disk": "Disk limit exceeded",
    "processes": "Process limit exceeded",
}
_NO_PROGRAM: Final = 127
_LARGER: Final = 1.05
_NEAR_MEMORY: Final = 0.9
"""A program that failed with this share of its memory in use most likely failed because it got no more."""


class Report(Struct, frozen=True):
    """What the first process of a box reported: how the program ended, and what its processes used together."""

    status: int = 0
    cpu: float = 0.0
    max_rss: int = 0
    voluntary: int = 0
    forced: int = 0
    leftovers: int = 0
    wall: float = 0.0
    exact: bool = True
    """False: there was no first process of ours, and an exit status above 128 may have been a signal."""
    refused: str = ""
    """Why the program could not be started."""


class Seen(Struct, frozen=True, kw_only=True):
    """All that is known about a run."""

    stop: Stop
    cpu: float
    wall: float
    memory: int
    out_of_memory: bool
    disk_full: bool
    report: Report | None
    """None: it was ended before the box could report."""


def parse_report(text: bytes) -> Report | None:
    """Read the lines of the first process; None if the last one is missing.

    What the program's process used before it became the program is left out. The kernel keeps the largest size of a process
    over ``exec``: if that was it, the program's own is not known, and given as 0.
    """
    before, size_before = 0, 0
    for line in text.decode(errors="replace").splitlines():
        match line.split(" ", 2):
            case ["before", cpu_used, size]:
                before, size_before = int(cpu_used), int(size)
            case ["refused", number, where]:
                return Report(status=_NO_PROGRAM << 8, refused=f"{os.strerror(int(number))} ({where})")
            case ["ended", *_]:
                status, cpu, max_rss, voluntary, forced, leftovers, wall = map(int, line.split()[1:])
                size = max_rss * 1024 if max_rss > size_before * _LARGER else 0
                return Report(status, max(0, cpu - before) / 1e6, size, voluntary, forced, leftovers, wall / 1e6)
            case _:
                continue
    return None


def judge(seen: Seen, limits: Limits, tier: Tier, guarantees: tuple[str, ...]) -> Verdict:
    """Return the verdict: a limit that was passed comes before how the program ended."""
    report = seen.report or Report(status=signal.SIGKILL)
    number = os.WTERMSIG(report.status) if os.WIFSIGNALED(report.status) else 0
    code = os.WEXITSTATUS(report.status) if os.WIFEXITED(report.status) else 0
    exceeded = _exceeded(seen, limits, tier, number, code)
    if exceeded in {"memory", "disk", "processes"} and not number:
        number, code = (signal.SIGXFSZ if exceeded == "disk" else signal.SIGKILL), 0
    return Verdict(
        status=_status(exceeded, number, code),
        exit_code=0 if number else code,
        signal=number,
        cpu=max(seen.cpu, report.cpu),
        wall=seen.wall if seen.stop or not report.exact else report.wall,
        memory=max(seen.memory, report.max_rss if tier > Tier.CGROUP else 0),
        max_rss=report.max_rss or seen.memory,
        killed=bool(seen.stop) or seen.out_of_memory,
        exceeded=exceeded,
        message=_message(exceeded, number, code, report),
        switches_voluntary=report.voluntary,
        switches_forced=report.forced,
        leftovers=report.leftovers,
        tier=tier,
        guarantees=guarantees,
    )


def _exceeded(seen: Seen, limits: Limits, tier: Tier, number: int, code: int) -> Exceeded:
    report = seen.report or Report()
    failed = bool(number or code)
    starved = tier > Tier.CGROUP and failed and max(seen.memory, report.max_rss) > limits.memory * _NEAR_MEMORY
    facts: tuple[tuple[bool, Exceeded], ...] = (
        (seen.out_of_memory or seen.stop == "memory", "memory"),
        (seen.stop == "cpu" or max(seen.cpu, report.cpu) > limits.cpu or number == signal.SIGXCPU, "cpu"),
        (seen.stop == "wall" or (not seen.stop and report.wall > limits.wall), "wall"),
        (number == signal.SIGXFSZ, "output"),
        (seen.stop == "disk" or seen.disk_full, "disk"),
        (seen.stop == "processes", "processes"),
        (starved, "memory"),
    )
    for true, what in facts:
        if true:
            return what
    return ""


def _status(exceeded: Exceeded, number: int, code: int) -> Status:
    if exceeded in {"cpu", "wall"}:
        return "TO"
    if number:
        return "SG"
    return "RE" if code else "OK"


def _message(exceeded: Exceeded, number: int, code: int, report: Report) -> str:
    if exceeded:
        return _MESSAGES[exceeded]
    if report.refused:
        return f"Cannot start the program: {report.refused}"
    if number:
        return f"Caught fatal signal {number}"
    if code > 128 and not report.exact:  # noqa: PLR2004 - the shell's way of naming signals
        return f"Exited with error status {code}, or caught fatal signal {code - 128}: this box cannot tell"
    return f"Exited with error status {code}" if code else ""
