"""The system calls a boxed program may not make, as a program for the kernel's filter (classic BPF).

It is a list of what is refused, not of what is allowed: an allow list would be needed per language and per kernel. What is
refused is what reaches past namespaces (vsock, keyrings, io_uring), what makes new ones, and what looks into others.
The filter sees ``struct seccomp_data``: the call's number at byte 0, the architecture at 4, arguments of 8 bytes from 16.
"""

import errno
import platform
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERROR: Final = 0x00050000

_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column in the tables below, and the kernel's name of the architecture."""
_X32: Final = 0x40000000
"""Calls of the x32 ABI have this bit; the numbers below do not mean them, so they are not let through at all."""

Calls = dict[str, tuple[int | None, int | None]]
"""Numbers on x86_64 and aarch64; None: there is no such call."""

REFUSED: Final[Calls] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "memfd_secret": (447, 447),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
ABSENT: Final[Calls] = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "clone3": (435, 435),
}
"""Answered as by a kernel without them, which libraries know how to live with: clone3 because its flags cannot be read."""
UNCOUNTED: Final[Calls] = {
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
"""Memory that is in no process's size: refused where no cgroup counts it."""
LOCKS: Final[Calls] = {"flock": (73, 32)}
SAME_USER: Final[Calls] = {
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "process_madvise": (440, 440),
}
"""What Landlock lets a program do to files and processes of its own user: refused where that is the worker's user."""
CHECKED: Final[Calls] = {
    "clone": (56, 220),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "prlimit64": (302, 261),
}

_NEW_NAMESPACES: Final = 0x7E020000 | 0x80
_TERMINAL_INPUT: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_LOCK_COMMANDS: Final = (6, 7, 37, 38, 1024, 1026)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE, F_NOTIFY
_UNIX: Final = 1
_FAMILIES: Final = (_UNIX, 2, 10, 16)  # AF_INET, AF_INET6, AF_NETLINK


class Refusals(NamedTuple):
    """What a tier needs to be refused beyond the common list."""

    uncounted_memory: bool = False
    locks: bool = False
    same_user: bool = False
    sockets: bool = False
    """Every socket but a pair: where there is no network namespace, and paths of sockets are open to all."""


def supported() -> bool:
    """Tell whether this processor's calls are known."""
    return platform.machine() in _ARCHITECTURES


@lru_cache
def assembled(refusals: Refusals) -> bytes:
    """Return the filter for the kernel, an array of ``struct sock_filter``."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    code = _Code(column)
    code.only(architecture)
    for calls, error in ((REFUSED, errno.EPERM), (ABSENT, errno.ENOSYS)):
        code.refuse(calls, error)
    if refusals.uncounted_memory:
        code.refuse(UNCOUNTED, errno.ENOSYS)
    if refusals.locks:
        code.refuse(LOCKS, errno.ENOSYS)
        code.refuse_values("fcntl", 1, _LOCK_COMMANDS, errno.EPERM)
    if refusals.same_user:
        code.refuse(SAME_USER, errno.EPERM)
        code.refuse_others("prlimit64", 0, (0,), errno.EPERM)
    code.refuse_bits("clone", 0, _NEW_NAMESPACES, errno.EPERM)
    code.refuse_values("ioctl", 1, _TERMINAL_INPUT, errno.EPERM)
    code.refuse_others("socket", 0, () if refusals.sockets else _FAMILIES, errno.EAFNOSUPPORT)
    code.refuse_others("socketpair", 0, (_UNIX,), errno.EAFNOSUPPORT)
    return code.end()


class _Code:
    """Instructions in the making: pairs of jumps count the instructions to leave out."""

    def __init__(self, column: int) -> None:
        self._column = column
        self._lines: list[tuple[int, int, int, int]] = []

    def only(self, architecture: int) -> None:
        """Kill what calls by the numbers of another architecture."""
        self._add(_LOAD, _ARCHITECTURE_AT)
        self._add(_IF_EQUAL, architecture, 1, 0)
        self._add(_RETURN, _KILL)
        self._add(_LOAD, _NUMBER_AT)
        self._add(_IF_AT_LEAST, _X32, 0, 1)
        self._add(_RETURN, _KILL)

    def refuse(self, calls: Calls, error: int) -> None:
        for numbers in calls.values():
            number = numbers[self._column]
            if number is not None:
                self._add(_IF_EQUAL, number, 0, 1)
                self._add(_RETURN, _ERROR | error)

    def refuse_values(self, call: str, argument: int, values: Sequence[int], error: int) -> None:
        """Refuse the call if the argument is one of ``values``."""
        self._look_at(call, argument, len(values) + 1)
        for place, value in enumerate(values):
            last = place == len(values) - 1
            self._add(_IF_EQUAL, value, len(values) - 1 - place, 1 if last else 0)
        self._add(_RETURN, _ERROR | error)
        self._add(_LOAD, _NUMBER_AT)

    def refuse_others(self, call: str, argument: int, values: Sequence[int], error: int) -> None:
        """Refuse the call unless the argument is one of ``values``."""
        self._look_at(call, argument, len(values) + 1)
        for place, value in enumerate(values):
            self._add(_IF_EQUAL, value, len(values) - place, 0)
        self._add(_RETURN, _ERROR | error)
        self._add(_LOAD, _NUMBER_AT)

    def refuse_bits(self, call: str, argument: int, bits: int, error: int) -> None:
        """Refuse the call if the argument has any of ``bits``."""
        self._look_at(call, argument, 2)
        self._add(_IF_ANY_BIT, bits, 0, 1)
        self._add(_RETURN, _ERROR | error)
        self._add(_LOAD, _NUMBER_AT)

    def end(self) -> bytes:
        self._add(_RETURN, _ALLOW)
        return b"".join(struct.pack("<HBBI", *line) for line in self._lines)

    def _look_at(self, call: str, argument: int, body: int) -> None:
        """Skip ``body`` instructions and the reload of the number unless it is this call; else load its argument."""
        number = CHECKED[call][self._column]
        assert number is not None  # noqa: S101 - every checked call exists on both
        self._add(_IF_EQUAL, number, 0, body + 2)
        self._add(_LOAD, _ARGUMENTS_AT + 8 * argument)

    def _add(self, operation: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        self._lines.append((operation, then, otherwise, value))
