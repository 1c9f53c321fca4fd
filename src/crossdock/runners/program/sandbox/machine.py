"""What boxes could be made with on this machine."""

import os
import platform
import shutil
from pathlib import Path

from msgspec import Struct

from crossdock.runners.program.sandbox import linux, seccomp
from crossdock.runners.program.sandbox.cgroups import Cgroups, NoCgroups, find_cgroups
from crossdock.runners.program.sandbox.etc import copied_settings
from crossdock.runners.program.sandbox.landlock import SIGNALS_SINCE
from crossdock.runners.program.sandbox.native import CannotBuild, init_program
from crossdock.runners.program.sandbox.slots import has_own_users
from crossdock.runners.program.sandbox.spec import Tier


class Machine(Struct, frozen=True, kw_only=True):
    """What was found; each problem says why a thing is missing."""

    bwrap: str | None
    init: Path | None
    init_problem: str
    etc: Path | None
    etc_problem: str
    cgroups: Cgroups | None
    cgroups_problem: str
    landlock: int
    own_users: bool
    """Whether each slot has a user of its own."""


def examine() -> Machine:
    """Look for everything."""
    init, init_problem = None, ""
    try:
        init = init_program()
    except CannotBuild as error:
        init_problem = str(error)
    etc, etc_problem = None, ""
    try:
        etc = copied_settings()
    except OSError as error:
        etc_problem = f"what boxes see of /etc cannot be copied: {error}"
    cgroups, cgroups_problem = None, ""
    try:
        cgroups = find_cgroups()
    except NoCgroups as error:
        cgroups_problem = str(error)
    return Machine(
        bwrap=shutil.which("bwrap"),
        init=init,
        init_problem=init_problem,
        etc=etc,
        etc_problem=etc_problem,
        cgroups=cgroups,
        cgroups_problem=cgroups_problem,
        landlock=linux.landlock_abi(),
        own_users=has_own_users(),
    )


def lacking(tier: Tier, machine: Machine) -> str:
    """Return what a tier needs and the machine has not; empty: nothing that can be known without trying."""
    for missing, text in _needs(tier, machine):
        if missing:
            return text
    return ""


def _needs(tier: Tier, machine: Machine) -> list[tuple[bool, str]]:
    """Return what would be missing for a tier, and the words for it."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    needs = [
        (
            os.geteuid() == 0 and not machine.own_users,
            "this process is root but cannot become another user: run it as an ordinary user, or give it CAP_SETUID",
        ),
        (tier > Tier.CGROUP and not children.exists(), "the kernel does not list the children of processes"),
    ]
    if tier < Tier.RLIMITS:
        needs.append((not seccomp.supported(), f"system calls of {platform.machine()} are not known"))
        needs.append((not linux.seccomp_offered(), "the kernel does not filter system calls"))
    if tier <= Tier.NAMESPACES:
        needs.append((machine.bwrap is None, "bubblewrap is not installed"))
        needs.append((machine.etc is None, machine.etc_problem))
    if tier == Tier.CGROUP:
        needs.append((machine.cgroups is None, machine.cgroups_problem))
    if tier == Tier.LANDLOCK:
        needs.append((not machine.landlock, "the kernel has no Landlock"))
        old = not machine.own_users and machine.landlock < SIGNALS_SINCE
        text = f"Landlock {machine.landlock} does not hold back signals to the worker, whose user the boxes share"
        needs.append((old, text))
    return needs
