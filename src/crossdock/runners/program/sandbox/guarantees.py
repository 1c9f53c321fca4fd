"""What boxes hold, in sentences, and what to do where a tier does not work."""

from collections.abc import Iterator
from typing import Final

from crossdock.runners.program.sandbox.machine import Machine
from crossdock.runners.program.sandbox.spec import Tier

_ADVICE: Final = (
    ("bubblewrap is not installed", "apt-get install bubblewrap (0.7 or newer)"),
    ("Unknown option", "install bubblewrap 0.7 or newer"),
    ("is not delegated", "let systemd delegate: Delegate=yes in the unit of the worker"),
    ("also holds processes", "start the worker in a group of its own: a systemd unit with Delegate=yes"),
    ("cgroup", "a systemd unit with Delegate=yes; in a container, a writable /sys/fs/cgroup"),
    ("no Landlock", "a kernel from 5.13 on, with landlock in /sys/kernel/security/lsm"),
    ("whose user the boxes share", "run the worker as root, so that each slot has a user of its own, or use Linux 6.12"),
    ("creating new namespace failed", ""),
    ("Operation not permitted", ""),
    ("Permission denied", ""),
    ("No permissions", ""),
)
_NAMESPACES_FORBIDDEN: Final = (
    "user namespaces are forbidden here. Ubuntu from 24.04 on: an AppArmor profile for /usr/bin/bwrap with 'userns,'. "
    "Others: sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0. "
    "Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
)


def advice(reason: str) -> str:
    """Return what to do about the reason why a tier does not work; empty if nothing is known."""
    for words, text in _ADVICE:
        if words.lower() in reason.lower():
            return text or _NAMESPACES_FORBIDDEN
    return ""


def sentences(tier: Tier, machine: Machine) -> tuple[str, ...]:
    """Return what boxes of a tier hold on this machine."""
    return tuple(_sentences(tier, machine))


def _sentences(tier: Tier, machine: Machine) -> Iterator[str]:
    yield from _resources(tier, machine)
    if tier == Tier.RLIMITS:
        yield "Network, files and other processes are not guarded: only for programs that are trusted."
    else:
        yield from _walls(tier, machine)
    if machine.own_users:
        yield "Each slot has a user of its own."
    else:
        yield "Boxes run as the user of the worker."
    if tier <= Tier.NAMESPACES and machine.init is None:
        yield f"An exit status above 128 cannot be told from a signal: {machine.init_problem}"


def _resources(tier: Tier, machine: Machine) -> Iterator[str]:
    if tier == Tier.CGROUP:
        kind = machine.cgroups.kind if machine.cgroups else "cgroup"
        yield f"CPU time is counted by the kernel for the whole box ({kind}) and looked at every 20 ms."
        yield "Memory of the whole box and the number of processes are limited by the kernel."
    else:
        yield "CPU time of the whole box is added up every 20 ms."
        yield "Memory is limited by the kernel for each process; the sum is looked at every 20 ms."
        if tier == Tier.NAMESPACES:
            yield "The number of processes is limited by the kernel."
        elif machine.own_users:
            yield "The number of processes is limited by the kernel, by the user of the slot."
        else:
            yield "The number of processes is looked at every 20 ms."
    yield "A file's size is limited by the kernel; disk space and the number of files are looked at every 100 ms."


def _walls(tier: Tier, machine: Machine) -> Iterator[str]:
    if tier <= Tier.NAMESPACES:
        yield "There is no network but within the box, unless asked for."
        yield "Only what is bound can be seen; the system is read-only, /tmp is private and limited."
        yield "Other processes can be neither seen nor signalled."
        yield "No process survives the box, and no box survives the worker."
        return
    yield "There are no sockets, unless the network is asked for."
    yield "Only listed paths can be opened; there is no /box and no private /tmp, TMPDIR names a directory for that."
    yield "Other processes cannot be signalled."
    if machine.own_users:
        yield "No process survives the box, and no box survives the worker."
    else:
        yield "Processes that survive the program are hunted down; one that forks without end may take a while."
