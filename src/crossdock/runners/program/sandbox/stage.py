"""The first process of boxes without namespaces. A script of its own: it is run with nothing but the standard library.

It starts the program under limits, Landlock and a filter of system calls, takes over processes whose parents have ended,
ends what is left when the program ends or the worker is gone, and reports in the words of init.c.

Usage: ``stage.py REPORT LIFE ORDER``, three descriptors; ORDER holds JSON, see ``staged.py``.
"""

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any, Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_FILTER: Final = 2
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_READ: Final = 0x0C  # files and directories
_UNLIMITED: Final = 2**64 - 1  # as the kernel says it
_POLL_MS: Final = 5
_LONG_MS: Final = 1000


def main() -> None:
    """Wait for the go, run the program, clean up, report."""
    report, life, order_from = (int(word) for word in sys.argv[1:4])
    with os.fdopen(order_from, "rb") as file:
        order: dict[str, Any] = json.load(file)
    for descriptor in (report, life):
        os.set_inheritable(descriptor, False)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_DUMPABLE, 0)
    waker, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _nothing)
    os.write(report, b"ready\n")
    if not os.read(life, 1):
        os._exit(96)
    started = time.monotonic()
    program = os.fork()
    if program == 0:
        _become(order, report)
    for descriptor in (0, 1, order["errors"]):
        os.close(descriptor)
    status, ended, leftovers = _reap(program, order["uid"], waker, life)
    try:
        os.write(report, _ended(status, ended - started, leftovers))
    finally:
        os._exit(0)


def _nothing(number: int, frame: object) -> None:
    """Take a signal, so that it wakes who waits."""


def _become(order: dict[str, Any], report: int) -> None:
    """Be the program, never to return."""
    where = "start"
    try:
        os.setsid()
        os.dup2(order["errors"], 2)
        os.close(order["errors"])
        signal.set_wakeup_fd(-1)
        where = "limits"
        for number, value in order["limits"]:
            limit = resource.RLIM_INFINITY if value >= _UNLIMITED else value
            resource.setrlimit(number, (limit, limit))
        where = "user"
        if order["uid"] is not None:
            _drop(order["uid"])
        where = "directory"
        os.chdir(order["start"])
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        where = "landlock"
        if order["ruleset"] is not None:
            _restrict(order["ruleset"])
        where = "filter"
        if order["filter"]:
            _filter(bytes.fromhex(order["filter"]))
        for number in range(1, 65):
            if number not in {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
                signal.signal(number, signal.SIG_DFL)
        where = "exec"
        used = resource.getrusage(resource.RUSAGE_SELF)
        os.write(report, f"before {int((used.ru_utime + used.ru_stime) * 1e6)} {used.ru_maxrss}\n".encode())
        os.execvpe(order["arguments"][0], order["arguments"], order["environment"])  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - nothing may run on in the parent's code
        number = error.errno if isinstance(error, OSError) and error.errno else 22
        os.write(report, f"refused {number} {where}\n".encode())
    os._exit(127)


def _reap(program: int, uid: int | None, waker: int, life: int) -> tuple[int, float, int]:
    """Wait for all there is; return the program's status, when it ended, and how many outlived it."""
    status, ended, leftovers, doomed = -1, 0.0, 0, False
    watched = select.poll()
    watched.register(waker, select.POLLIN)
    watched.register(life, select.POLLIN)
    while True:
        try:
            pid, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, ended, leftovers
        if pid == program:
            status, ended, doomed = how, time.monotonic(), True
        elif pid and ended and os.WIFSIGNALED(how) and os.WTERMSIG(how) == signal.SIGKILL:
            leftovers += 1
        if doomed:
            _kill_all(uid)
        if pid == 0 and _woken_by_end(watched, waker, life, _POLL_MS if doomed else _LONG_MS):
            doomed = True


def _woken_by_end(watched: select.poll, waker: int, life: int, milliseconds: int) -> bool:
    """Wait until a child ends or the worker lets go; tell whether it did."""
    woken = [descriptor for descriptor, _ in watched.poll(milliseconds)]
    if waker in woken:
        os.read(waker, 4096)
    if life in woken:
        watched.unregister(life)
    return life in woken


def _kill_all(uid: int | None) -> None:
    """Kill every process of the box: all of its user's at once, else all below this one, as often as it takes."""
    if uid is None:
        for pid in _below(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        return
    killer = os.fork()
    if killer == 0:
        try:
            _drop(uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def _below(root: int) -> list[int]:
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - this script starts for every program
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                    children = [int(child) for child in file.read().split()]
                found += children
                todo += children
        except OSError:
            continue
    return found


def _ended(status: int, wall: float, leftovers: int) -> bytes:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    numbers = (
        *(status, int((used.ru_utime + used.ru_stime) * 1e6), used.ru_maxrss),
        *(used.ru_nvcsw, used.ru_nivcsw, leftovers, int(wall * 1e6)),
    )
    return f"ended {' '.join(map(str, numbers))}\n".encode()


def _drop(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _restrict(ruleset: int) -> None:
    """Apply a ruleset, to which our own entry in /proc is added: many runtimes read about themselves there."""
    own = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("<Qi", _LANDLOCK_READ, own)
    _LIBC.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
    os.close(own)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    _checked(_LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _filter(instructions: bytes) -> None:
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(buffer))
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    _checked(_LIBC.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.c_char_p(program), 0, 0))


def _control(option: int, value: int) -> None:
    _checked(_LIBC.prctl(option, value, 0, 0, 0))


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
