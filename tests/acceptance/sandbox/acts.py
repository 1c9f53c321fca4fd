"""What is to become of each hostile act. A judge returns what is wrong, or nothing."""

from collections.abc import Callable
from typing import Final, NamedTuple

from crossdock.runners.program.sandbox.spec import Exceeded, Limits, Verdict

MB: Final = 2**20
LIMITS: Final = Limits(
    cpu=0.4,
    wall=20.0,
    extra=0.1,
    memory=64 * MB,
    stack=8 * MB,
    file_size=4 * MB,
    processes=16,
    disk=12 * MB,
    inodes=300,
    scratch=8 * MB,
    open_files=64,
)
SHORT_WALL: Final = 0.7
AMPLE_CPU: Final = 10.0
"""For acts that are after something else: some machines need long to hand out memory or files."""
LATE_CPU: Final = 1.0
"""Seconds that a limit of CPU may be passed by on a machine that does several other things."""

Judge = Callable[[Verdict, str], str]


class Act(NamedTuple):
    judge: Judge
    wall: float = LIMITS.wall
    cpu: float = AMPLE_CPU


def plain(status: str, *, code: int = 0, signal: int = 0, said: str = "") -> Judge:
    def judge(verdict: Verdict, text: str) -> str:
        found = (verdict.status, verdict.exit_code, verdict.signal, verdict.exceeded)
        if found != (status, code, signal, "") or said not in text:
            return f"wanted {status} {code} {signal} {said!r}, found {found} {text[:200]!r}"
        return escapes(text)

    return judge


def over(*limits: Exceeded) -> Judge:
    """Judge that one of some limits was passed, and noticed in time."""

    def judge(verdict: Verdict, text: str) -> str:
        if verdict.exceeded not in limits or verdict.status not in {"TO", "SG"}:
            found = (verdict.status, verdict.exceeded, verdict.exit_code, verdict.message)
            return f"wanted {limits}, found {found} {text[:200]!r}"
        if verdict.exceeded == "cpu" and verdict.cpu > LIMITS.cpu + LIMITS.extra + LATE_CPU:
            return f"{verdict.cpu} s of CPU"
        return escapes(text)

    return judge


def harmless(verdict: Verdict, text: str) -> str:
    """Judge by what the act itself says it reached; how it ended is all the same, but the box must not have failed."""
    return "the box failed" if verdict.status == "XX" else escapes(text)


def daemonised(verdict: Verdict, text: str) -> str:
    if not verdict.leftovers:
        return "nobody noticed the daemon"
    return plain("OK")(verdict, text)


def escapes(text: str) -> str:
    return "; ".join(line for line in text.splitlines() if line.startswith("escaped"))


ACTS: Final[dict[str, Act]] = {
    "ok": Act(plain("OK", said="fine")),
    "exit": Act(plain("RE", code=139)),
    "sig": Act(plain("SG", signal=15)),
    "segv": Act(plain("SG", signal=11)),
    "spin": Act(over("cpu"), cpu=LIMITS.cpu),
    "cpu_ign": Act(over("cpu"), cpu=LIMITS.cpu),
    "cpu_fork": Act(over("cpu"), cpu=LIMITS.cpu),
    "cpu_relay": Act(over("cpu"), cpu=LIMITS.cpu),
    "cpu_orphan": Act(over("cpu"), cpu=LIMITS.cpu),
    "cpu_threads": Act(over("cpu"), cpu=LIMITS.cpu),
    "sleep": Act(over("wall"), SHORT_WALL),
    "stop": Act(over("wall"), SHORT_WALL),
    "mem": Act(over("memory")),
    "mem_mmap": Act(over("memory")),
    "mem_shared": Act(over("memory")),
    "mem_fork": Act(over("memory")),
    "memfd": Act(harmless),
    "tmpfs": Act(harmless),
    "forkbomb": Act(over("cpu", "wall", "processes", "memory"), cpu=LIMITS.cpu),
    "threadbomb": Act(harmless),
    "flood": Act(over("output")),
    "bigfile": Act(over("output")),
    "manyfiles": Act(over("disk")),
    "inodes": Act(over("disk")),
    "outside": Act(plain("OK")),
    "read": Act(plain("OK")),
    "net": Act(plain("OK")),
    "kill": Act(plain("OK")),
    "killall": Act(plain("OK")),
    "daemon": Act(daemonised),
    "zombies": Act(plain("OK")),
    "links": Act(plain("OK")),
    "fds": Act(plain("OK")),
    "env": Act(plain("OK", said="GIVEN=yes")),
    "shmleak": Act(plain("OK")),
    "shmcheck": Act(plain("OK")),
    "keyleak": Act(plain("OK")),
    "keycheck": Act(plain("OK")),
    "lockchan": Act(plain("OK")),
    "userns": Act(plain("OK")),
    "stack": Act(plain("SG", signal=11)),
    "procsys": Act(plain("OK")),
    "setrlimit": Act(plain("OK")),
    "tiocsti": Act(plain("OK")),
}
"""The 44 acts everybody is measured by."""

MORE: Final[dict[str, Act]] = {
    "cpu_unreaped": Act(over("cpu"), cpu=LIMITS.cpu),
    "tmp_inodes": Act(over("disk", "cpu"), cpu=LIMITS.cpu),
    "deep": Act(over("disk")),
}
"""Found while this sandbox was made: processes nobody adds up, files in /tmp, directories too deep to remove."""
