"""The filter of system calls, run by a small interpreter of its own."""

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from crossdock.runners.program.sandbox import seccomp
from crossdock.runners.program.sandbox.seccomp import Refusals, assembled

ALLOW, KILL = 0x7FFF0000, 0x80000000
AMD64, ARM64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
COLUMN = {"x86_64": 0, "aarch64": 1}.get(platform.machine(), 0)
HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))

pytestmark = pytest.mark.skipif(not seccomp.supported(), reason="another processor")


def run(program: bytes, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what the kernel would do with a call."""
    native = (AMD64, ARM64)[COLUMN] if architecture is None else architecture
    given = struct.pack("<IIQ6Q", number, native, 0, *(arguments + (0,) * 6)[:6])
    lines = list(struct.iter_unpack("<HBBI", program))
    value, place = 0, 0
    while True:
        code, then, otherwise, constant = lines[place]
        place += 1
        if code == 0x20:
            value = struct.unpack_from("<I", given, constant)[0]
        elif code == 0x06:
            return constant
        else:
            met = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            place += then if met else otherwise


def number(name: str) -> int:
    tables = (seccomp.REFUSED, seccomp.ABSENT, seccomp.UNCOUNTED, seccomp.LOCKS, seccomp.SAME_USER, seccomp.CHECKED)
    found = next(table[name] for table in tables if name in table)[COLUMN]
    assert found is not None
    return found


def refused(error: int) -> int:
    return 0x00050000 | error


@pytest.mark.parametrize("refusals", [Refusals(), Refusals(uncounted_memory=True, locks=True, same_user=True, sockets=True)])
def test_every_listed_call_is_refused_and_every_other_allowed(refusals: Refusals) -> None:
    program = assembled(refusals)
    lists = [(seccomp.REFUSED, errno.EPERM), (seccomp.ABSENT, errno.ENOSYS)]
    if refusals.locks:
        lists += [(seccomp.UNCOUNTED, errno.ENOSYS), (seccomp.LOCKS, errno.ENOSYS), (seccomp.SAME_USER, errno.EPERM)]
    wanted = {numbers[COLUMN]: refused(error) for calls, error in lists for numbers in calls.values()}
    checked = {numbers[COLUMN] for numbers in seccomp.CHECKED.values()}
    for call in set(range(500)) - checked:
        assert run(program, call) == wanted.get(call, ALLOW), call


def test_calls_by_the_numbers_of_other_architectures_kill() -> None:
    assert run(assembled(Refusals()), 1, architecture=I386) == KILL
    assert run(assembled(Refusals()), 0x40000000 | 1) == KILL


def test_threads_are_born_but_no_namespaces() -> None:
    program = assembled(Refusals())
    assert run(program, number("clone"), 0x3D0F00) == ALLOW
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(program, number("clone"), 0x11 | flag) == refused(errno.EPERM), hex(flag)


def test_sockets_by_family() -> None:
    common, none = assembled(Refusals()), assembled(Refusals(sockets=True))
    for family in range(50):
        wanted = ALLOW if family in {1, 2, 10, 16} else refused(errno.EAFNOSUPPORT)
        assert run(common, number("socket"), family) == wanted, family
        assert run(none, number("socket"), family) == refused(errno.EAFNOSUPPORT)
        assert run(none, number("socketpair"), family) == (ALLOW if family == 1 else refused(errno.EAFNOSUPPORT))


def test_nobody_types_for_the_terminal() -> None:
    program = assembled(Refusals())
    assert run(program, number("ioctl"), 0, 0x5412) == refused(errno.EPERM)
    assert run(program, number("ioctl"), 0, 0x541C) == refused(errno.EPERM)
    assert run(program, number("ioctl"), 0, 0x5401) == ALLOW


def test_locks_only_if_they_are_to_be_refused() -> None:
    for command in (6, 7, 37, 38, 1024, 1026):
        assert run(assembled(Refusals()), number("fcntl"), 3, command) == ALLOW
        assert run(assembled(Refusals(locks=True)), number("fcntl"), 3, command) == refused(errno.EPERM)
    for command in (0, 1, 2, 3, 4, 5, 1030):
        assert run(assembled(Refusals(locks=True)), number("fcntl"), 3, command) == ALLOW


def test_own_limits_only_where_others_have_the_same_user() -> None:
    shared = assembled(Refusals(same_user=True))
    assert run(shared, number("prlimit64"), 0) == ALLOW
    assert run(shared, number("prlimit64"), 4711) == refused(errno.EPERM)
    assert run(assembled(Refusals()), number("prlimit64"), 4711) == ALLOW


@pytest.mark.parametrize(("column", "header"), list(enumerate(HEADERS)), ids=["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernel(column: int, header: Path) -> None:
    if not header.exists():
        pytest.skip(f"no {header}")
    known = {}
    for name, value in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+|__NR3264_\w+)", header.read_text()):
        known[name] = known.get(value.removeprefix("__NR3264_"), -1) if value.startswith("_") else int(value)
    tables = (seccomp.REFUSED, seccomp.ABSENT, seccomp.UNCOUNTED, seccomp.LOCKS, seccomp.SAME_USER, seccomp.CHECKED)
    for name, numbers in {name: numbers for table in tables for name, numbers in table.items()}.items():
        if name in known:
            assert numbers[column] == known[name], name
        elif numbers[column] is not None:
            assert name == "fchmodat2", f"{name} is not in {header}"
