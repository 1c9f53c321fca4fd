"""Tiers 3 and 4: a program without namespaces, started by a script between it and us."""

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
    """

    def __init__(self, abi: int) -> None:
        self._abi = abi

    def start(self, order: Order, channel: Channel, cancelled: int) -> Started:
        """Make a box that waits to be released.

        Raises:
            SandboxError: it cannot be made.
        """
        del cancelled
        program, own_user = order.program, order.uid is None
        refuse_nul(words_of(program))
        rules = self._rules(order, channel)
        refusals = seccomp.Refusals(
            uncounted_memory=True, locks=program.no_locks, same_user=own_user, sockets=not program.network
        )
        asked = {
            "arguments": [order.layout.outside(word) for word in program.arguments],
            "environment": _environment(order),
            "start": order.layout.outside(order.layout.start),
            "limits": _limits(order),
            "uid": order.uid,
            "errors": order.streams.errors,
            "ruleset": rules,
            "filter": seccomp.assembled(refusals).hex() if self._abi else "",
        }
        text = channel.give(json.dumps(asked).encode())
        numbers = (channel.report_in, channel.life_out, text)
        command = [sys.executable, "-I", "-S", str(_STAGE), *map(str, numbers)]
        # The script stays root where we are: the program must not be able to end who watches it.
        return Started(channel.spawn(command, order, errors=channel.said), None, channel, exact=True)

    def _rules(self, order: Order, channel: Channel) -> int | None:
        if not self._abi:
            return None
        try:
            return channel.adopt(ruleset(_allowed(order), self._abi, network=order.program.network))
        except OSError as error:
            raise SandboxError(f"Landlock: {error}") from error


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
