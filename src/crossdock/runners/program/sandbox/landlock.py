"""Rules on files for programs without a mount namespace: only what is listed can be opened.

Sizes and bits are those of linux/landlock.h; a kernel knows those of its ABI and refuses the others.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from crossdock.runners.program.sandbox.linux import landlock_rule, landlock_ruleset

SIGNALS_SINCE: Final = 6
"""The ABI from which signals to processes outside are refused."""

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_MAKE_CHARACTER_DEVICE: Final = 1 << 6
_MAKE_BLOCK_DEVICE: Final = 1 << 11
_TRUNCATE: Final = 1 << 14
_FIRST: Final = (1 << 13) - 1
_SINCE: Final = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Refer (links and moves between directories), truncate, ioctl on devices."""
_TCP: Final = 3
_TCP_SINCE: Final = 4
_SCOPES: Final = 3
"""Abstract sockets and signals."""
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


class Allowed(NamedTuple):
    """A path and all below it."""

    path: Path
    writable: bool = False
    executable: bool = True


def ruleset(allowed: list[Allowed], abi: int, *, network: bool) -> int:
    """Return the descriptor of a ruleset for ``landlock_restrict_self``; what does not exist is left out.

    Raises:
        OSError: the kernel does not take it.
    """
    handled = _FIRST
    for since, bit in _SINCE.items():
        handled |= bit if abi >= since else 0
    attributes = [handled]
    if abi >= _TCP_SINCE:
        attributes.append(0 if network else _TCP)
    if abi >= SIGNALS_SINCE:
        attributes.append(_SCOPES)
    made = landlock_ruleset(struct.pack(f"<{len(attributes)}Q", *attributes))
    for rule in allowed:
        with suppress(FileNotFoundError):
            _add(made, rule, handled)
    return made


def _add(made: int, rule: Allowed, handled: int) -> None:
    rights = _READ_FILE | _READ_DIRECTORY
    if rule.writable:
        rights = handled & ~(_MAKE_CHARACTER_DEVICE | _MAKE_BLOCK_DEVICE | _EXECUTE)
    if rule.executable:
        rights |= _EXECUTE
    if not rule.path.is_dir():
        rights &= _OF_FILES
    place = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    try:
        landlock_rule(made, struct.pack("<Qi", rights & handled, place))
    finally:
        os.close(place)
