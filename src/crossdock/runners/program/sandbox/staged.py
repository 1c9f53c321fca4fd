"""Tiers 3 and 4: a program without namespaces, started by a process between it and us that holds and watches it."""

import json
import os
import sys
from pathlib import Path
from typing import Final

from crossdock.runners.program.sandbox import seccomp
from crossdock.runners.program.sandbox.etc import network_settings, settings
from crossdock.runners.program.sandbox.landlock import Allowed, ruleset
from crossdock.runners.program.sandbox.limiting import resource_limits, tasks_of
from crossdock.runners.program.sandbox.spec import SandboxError
from crossdock.runners.program.sandbox.starting import Channel, Order, Started, refuse_nul, words_of

_STAGE: Final = Path(__file__).with_name("stage.py")
_READABLE: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_DEVICES: Final = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Staged:
    """Starts boxes.

    Args:
        abi: the version of Landlock to use; 0: none, and no filter of system calls either, for trusted programs.
        init: the first process of boxes; None: a script does its work, which takes several times as long to start.
    """

    def __init__(self, abi: int, init: Path | None) -> None:
        self._abi = abi
        self._init = init

    def start(self, order: Order, channel: Channel, cancelled: int) -> Started:
        """Make a box that waits to be released.

        Raises:
            SandboxError: it cannot be made.
        """
        del cancelled
        refuse_nul(words_of(order.program))
        rules = self._rules(order, channel)
        filtered = self._filter(order)
        if self._init is None:
            command = _scripted(order, channel, rules, filtered)
        else:
            command = [str(self._init), *_native(order, channel, rules, filtered)]
        # The first process stays root where we are: the program must not be able to end who watches it.
        return Started(channel.spawn(command, order, errors=channel.said), None, channel, exact=True)

    def _filter(self, order: Order) -> bytes:
        """Return the filter of system calls, empty if there is to be none."""
        if not self._abi:
            return b""
        program, own_user = order.program, order.uid is None
        refusals = seccomp.Refusals(
            uncounted_memory=True, locks=program.no_locks, same_user=own_user, sockets=not program.network
        )
        return seccomp.assembled(refusals)

    def _rules(self, order: Order, channel: Channel) -> int | None:
        if not self._abi:
            return None
        try:
            return channel.adopt(ruleset(_allowed(order), self._abi, network=order.program.network))
        except OSError as error:
            raise SandboxError(f"Landlock: {error}") from error


def _native(order: Order, channel: Channel, rules: int | None, filtered: bytes) -> list[str]:
    """Return the arguments of ``init.c``."""
    numbers = (channel.report_in, channel.life_out, order.streams.errors)
    limits = ",".join(f"{number}={value}" for number, value in _limits(order))
    descriptors = (-1 if rules is None else rules, channel.give(filtered) if filtered else -1)
    variables = [f"{name}={value}" for name, value in _environment(order).items()]
    return [
        *("--staged", *map(str, numbers), limits, str(-1 if order.uid is None else order.uid)),
        *(order.layout.outside(order.layout.start), *map(str, descriptors), str(len(variables)), *variables),
        *_arguments(order),
    ]


def _scripted(order: Order, channel: Channel, rules: int | None, filtered: bytes) -> list[str]:
    """Return the command of the script that does the same."""
    asked = {
        "arguments": _arguments(order),
        "environment": _environment(order),
        "start": order.layout.outside(order.layout.start),
        "limits": _limits(order),
        "uid": order.uid,
        "errors": order.streams.errors,
        "ruleset": rules,
        "filter": filtered.hex(),
    }
    numbers = (channel.report_in, channel.life_out, channel.give(json.dumps(asked).encode()))
    return [sys.executable, "-I", "-S", str(_STAGE), *map(str, numbers)]


def _arguments(order: Order) -> list[str]:
    return [order.layout.outside(word) for word in order.program.arguments]


def _allowed(order: Order) -> list[Allowed]:
    found = [Allowed(Path(path)) for path in _READABLE]
    found += [Allowed(place) for place in settings()]
    found += [Allowed(place) for place in (network_settings() if order.program.network else ())]
    found += [Allowed(Path(path)) for path in _DEVICES]
    found += [Allowed(Path(os.devnull), writable=True, executable=False)]
    found += [Allowed(place, writable=True) for place in (order.layout.directory, order.scratch) if place]
    found += [
        Allowed(bind.source, writable=bind.writable, executable=bind.executable)
        for bind in order.program.binds
        if bind.source is not None
    ]
    return found


def _environment(order: Order) -> dict[str, str]:
    given = {name: order.layout.outside(value) for name, value in order.program.environment.items()}
    return {"TMPDIR": str(order.scratch), **given} if order.scratch else given


def _limits(order: Order) -> list[tuple[int, int]]:
    others = -1  # the first process of these boxes is another user's
    if order.uid is None and order.program.limits.processes is not None:
        others = tasks_of(os.geteuid())
    return list(resource_limits(order.program.limits, order.tier, others).items())
