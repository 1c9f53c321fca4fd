"""Tiers 1 and 2: a program in namespaces of its own, made by bubblewrap."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from crossdock.runners.program.sandbox import seccomp
from crossdock.runners.program.sandbox.etc import network_settings
from crossdock.runners.program.sandbox.layout import BOX, absolute
from crossdock.runners.program.sandbox.limiting import resource_limits, tasks_of
from crossdock.runners.program.sandbox.linux import kernel_version
from crossdock.runners.program.sandbox.spec import Bind, SandboxError, Tier
from crossdock.runners.program.sandbox.starting import Channel, Order, Started, child_of, refuse_nul, words_of

SCRATCH: Final = ("/tmp", "/dev/shm")  # noqa: S108 - of the box
"""Private file systems in memory, each of the size of the scratch space."""

_UID: Final = "1000"
_INIT: Final = "/.init"
_SYSTEM: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_COUNTED_PER_NAMESPACE: Final = (5, 14)
"""From this kernel on RLIMIT_NPROC counts in a user namespace for itself."""
_PRLIMIT: Final = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "sigpending": 11,
    "msgqueue": 12,
}
"""Names that util-linux has for the kernel's numbers of limits."""


class Bubblewrap:
    """Starts boxes.

    Args:
        bwrap: the path of bubblewrap.
        init: the first process of boxes; None: boxes go without, and cannot tell a signal from a high exit status.
        etc: what is /etc in boxes.
    """

    def __init__(self, bwrap: str, init: Path | None, etc: Path) -> None:
        self._bwrap = bwrap
        self._init = init
        self._etc = etc

    def start(self, order: Order, channel: Channel, cancelled: int) -> Started:
        """Make a box that waits to be released; if ``cancelled`` becomes readable, one that may not be ready.

        Raises:
            SandboxError: it cannot be made.
        """
        refuse_nul(words_of(order.program))
        info, info_in = channel.pipe()
        settings = [
            *_namespaces(order, info_in, channel),
            *_files(order, self._etc),
            *self._first_process(channel),
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", order.layout.start, "--clearenv"),
        ]
        for name, value in order.program.environment.items():
            settings += ["--setenv", name, value]
        refuse_nul(settings)
        arguments = channel.give(b"".join(os.fsencode(word) + b"\0" for word in settings))
        errors = channel.said if self._init else order.streams.errors
        command = [self._bwrap, "--args", str(arguments), "--", *self._command(order, channel)]
        if self._init and order.uid is not None:
            process = channel.spawn([str(self._init), "--as", str(order.uid), *command], order, errors=errors)
        else:
            process = channel.spawn(command, order, errors=errors, uid=order.uid)
        try:
            started = Started(process, child_of(info, cancelled), channel, exact=self._init is not None)
        except OSError as error:
            process.kill()
            process.wait()
            raise SandboxError(f"bubblewrap ended at once: {channel.complaint() or error}") from error
        return started

    def _first_process(self, channel: Channel) -> tuple[str, ...]:
        if self._init:
            return ("--ro-bind", str(self._init), _INIT, "--as-pid-1")
        return ("--block-fd", str(channel.life_out))

    def _command(self, order: Order, channel: Channel) -> list[str]:
        limits = resource_limits(order.program.limits, order.tier, _counted_elsewhere(order))
        if self._init:
            text = ",".join(f"{number}={value}" for number, value in limits.items())
            numbers = (channel.report_in, channel.life_out, order.streams.errors)
            return [_INIT, *map(str, numbers), text, *order.program.arguments]
        named = [f"--{name}={limits[number]}" for name, number in _PRLIMIT.items() if number in limits]
        return ["/usr/bin/prlimit", *named, "--", *order.program.arguments]


def _namespaces(order: Order, info: int, channel: Channel) -> Iterator[str]:
    refusals = seccomp.Refusals(uncounted_memory=order.tier > Tier.CGROUP, locks=order.program.no_locks)
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if not order.program.network:
        yield "--unshare-net"
    yield from ("--uid", _UID, "--gid", _UID, "--hostname", "box", "--die-with-parent", "--new-session")
    yield from ("--info-fd", str(info), "--add-seccomp-fd", str(channel.give(seccomp.assembled(refusals))))


def _files(order: Order, etc: Path) -> Iterator[str]:
    yield from _system()
    yield from ("--ro-bind", str(etc), "/etc", "--proc", "/proc", "--dev", "/dev")
    if order.program.network:
        for place in network_settings():
            yield from ("--ro-bind-try", str(place), str(place))
    scratch = str(order.program.limits.scratch)
    for place in SCRATCH:
        yield from ("--size", scratch, "--tmpfs", place)
    yield from ("--bind", str(order.layout.directory), BOX)
    for bind in order.program.binds:
        yield from _bind(bind, scratch)


@lru_cache
def _system() -> tuple[str, ...]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            words += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            words += ["--ro-bind", str(place), str(place)]
    return tuple(words)


def _bind(bind: Bind, scratch: str) -> Iterator[str]:
    target = absolute(bind)
    if bind.source is None:
        yield from ("--size", scratch, "--tmpfs", target)
        return
    how = "--dev-bind" if bind.devices else "--bind" if bind.writable else "--ro-bind"
    yield from (how, str(bind.source), target)
    if bind.devices and not bind.writable:
        yield from ("--remount-ro", target)


def _counted_elsewhere(order: Order) -> int:
    """Return the tasks that an older kernel counts together with those of the box."""
    if kernel_version() >= _COUNTED_PER_NAMESPACE or order.program.limits.processes is None:
        return 0
    return tasks_of(os.geteuid() if order.uid is None else order.uid)
