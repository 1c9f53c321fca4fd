"""What a box is asked for and what it answers: plain values, the same on every tier.

Sizes are bytes, durations seconds; None means no limit of that kind.
"""

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct


class Tier(IntEnum):
    """How well a box holds, 1 being the best; a smaller number gives every guarantee of a larger one."""

    CGROUP = 1  # namespaces, seccomp, rlimits and a cgroup
    NAMESPACES = 2  # namespaces, seccomp, rlimits; totals are watched, not enforced by the kernel
    LANDLOCK = 3  # Landlock, seccomp, rlimits: where namespaces are forbidden, as in a default container
    RLIMITS = 4  # rlimits alone: for trusted programs only


class Limits(Struct, frozen=True, kw_only=True):
    """What a program may use.

    ``cpu`` and ``memory`` are of the whole process tree. A program is ended ``extra`` seconds after a limit of time, so that
    people see by how much it was missed; past the limit it has failed in any case. ``stack`` and ``file_size`` are of one
    process and one file, ``disk`` and ``inodes`` of all that it leaves in its directory, ``scratch`` of its private /tmp.
    """

    cpu: float = 2.0
    wall: float = 10.0
    extra: float = 0.2
    memory: int = 256 * 2**20
    stack: int | None = 64 * 2**20
    file_size: int = 64 * 2**20
    processes: int | None = 16
    disk: int = 128 * 2**20
    inodes: int = 4096
    scratch: int = 32 * 2**20
    open_files: int = 128


class Bind(Struct, frozen=True, kw_only=True):
    """A path of this machine that a program sees at ``target``. ``optional``: left out if ``source`` does not exist.

    Without a ``source`` an empty private directory in memory appears there, of the size of the scratch space.
    """

    target: str
    source: Path | None = None
    writable: bool = False
    executable: bool = True
    devices: bool = False
    optional: bool = False


class Program(Struct, frozen=True, kw_only=True):
    """A program to be run in a box.

    ``directory`` becomes ``/box``, writable, and is where the program starts unless ``chdir`` (a path inside) says
    otherwise. ``stdin``, ``stdout`` and ``stderr`` are paths as the program sees them (relative ones count from its start
    directory); None is an empty input and a dropped output. ``merge``: stderr goes where stdout goes. The environment holds
    only what is given here. ``no_locks`` forbids file locks, which can carry a message from box to box.
    """

    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = {}
    binds: tuple[Bind, ...] = ()
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    merge: bool = False
    chdir: str | None = None
    network: bool = False
    no_locks: bool = False
    limits: Limits = Limits()


Status = Literal["OK", "RE", "SG", "TO", "XX"]
"""The words of isolate: fine, a bad exit code, ended by a signal, out of time, and what was asked for cannot be done.

The last is about the request: its input or start directory is not there, or its output cannot be put where it was promised.
A program that cannot be started is RE with exit code 127. A box that failed is no verdict but a :class:`SandboxError`.
"""

Exceeded = Literal["", "cpu", "wall", "memory", "output", "disk", "processes"]


class Verdict(Struct, frozen=True, kw_only=True):
    """How a program ended, and what it used.

    ``exceeded`` names the limit that ended it (``output``: a file or stream became too large). ``memory`` is the peak of the
    whole tree where it is known, ``max_rss`` of the largest single process. ``leftovers`` counts processes that outlived the
    program and were ended. ``guarantees`` are sentences: what the box held for certain.
    """

    status: Status
    exit_code: int = 0
    signal: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    max_rss: int = 0
    killed: bool = False
    exceeded: Exceeded = ""
    message: str = ""
    switches_voluntary: int = 0
    switches_forced: int = 0
    leftovers: int = 0
    tier: Tier
    guarantees: tuple[str, ...] = ()


class SandboxError(Exception):
    """The box could not be made or did not report: never the program's fault."""


class Sandbox(Protocol):
    """Runs programs in boxes, several at once."""

    @property
    def tier(self) -> Tier:
        """What the boxes hold; known after :meth:`start`."""
        ...

    @property
    def guarantees(self) -> tuple[str, ...]:
        """The same in sentences."""
        ...

    async def start(self) -> None:
        """Try every tier by running a real program in a real box, sweep what an earlier process left, take the best tier.

        Raises:
            CrossdockError: ``unavailable`` if none as good as required works, with what to do about it.
        """
        ...

    async def run(self, program: Program) -> Verdict:
        """Run a program to its end; cancelling the task kills it with all its descendants.

        Raises:
            SandboxError: it could not be run.
        """
        ...

    async def stop(self) -> None:
        """End every box."""
        ...
