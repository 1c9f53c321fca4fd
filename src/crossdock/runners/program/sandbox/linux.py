"""System calls that Python has no function for, and what the kernel says about this process."""

import ctypes
import errno
import os
import platform
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_OPENAT2: Final = 437
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445

_RESOLVE: Final = 0x01 | 0x02 | 0x04 | 0x08
"""RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH: a path that stays where it seems to lead."""

_CLONE_NEWNS: Final = 0x20000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 0x80000
_MNT_DETACH: Final = 2

CAP_SYS_ADMIN: Final = 21


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(directory: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` below the open ``directory`` and return the descriptor; no link of any kind is followed.

    Raises:
        OSError: ELOOP if there is a link on the way, EXDEV if the path leads out.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE)
    return _called(
        _LIBC.syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))), path
    )


def own_mounts() -> None:
    """Give the calling thread a mount namespace of its own, in which mounts of the machine still appear, but not back.

    Raises:
        OSError: this process may not.
    """
    _called(_LIBC.unshare(_CLONE_NEWNS), "unshare")
    _called(_LIBC.mount(None, b"/", None, ctypes.c_ulong(_MS_SLAVE | _MS_REC), None), "/")


def memory_mount(target: Path) -> None:
    """Put a small file system in memory over ``target``, which everybody can pass through and nobody but us can write."""
    _called(_LIBC.mount(b"tmpfs", os.fsencode(target), b"tmpfs", ctypes.c_ulong(0), b"mode=0711,size=64k"), str(target))


def bind_mount(source: int, target: Path) -> None:
    """Make the open file or directory ``source`` appear at ``target`` too, with what is mounted below."""
    name = f"/proc/self/fd/{source}".encode()
    _called(_LIBC.mount(name, os.fsencode(target), None, ctypes.c_ulong(_MS_BIND | _MS_REC), None), str(target))


def unmount(target: Path) -> None:
    """Undo :func:`bind_mount`."""
    _called(_LIBC.umount2(os.fsencode(target), _MNT_DETACH), str(target))


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel offers; 0 is none."""
    if platform.system() != "Linux":
        return 0
    return max(0, int(_LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def landlock_ruleset(attributes: bytes) -> int:
    """Return the descriptor of a new Landlock ruleset; ``attributes`` is a ``struct landlock_ruleset_attr``."""
    size = ctypes.c_size_t(len(attributes))
    return _called(_LIBC.syscall(_LANDLOCK_CREATE_RULESET, ctypes.c_char_p(attributes), size, 0), "landlock")


def landlock_rule(ruleset: int, rule: bytes) -> None:
    """Add a ``struct landlock_path_beneath_attr`` to a ruleset."""
    _called(_LIBC.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0), "landlock")


def capable(capability: int) -> bool:
    """Tell whether this process has a capability."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def seccomp_offered() -> bool:
    """Tell whether the kernel filters system calls."""
    return "\nSeccomp:" in Path("/proc/self/status").read_text()


def kernel_version() -> tuple[int, int]:
    """Return the first two numbers of the kernel's version."""
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _called(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number), what)
    return result
