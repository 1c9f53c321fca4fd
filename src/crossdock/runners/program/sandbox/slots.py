"""Slots: each runs one box at a time, in a thread that outlives it, as a user that nobody else has meanwhile.

The thread matters: the kernel ends a box with the *thread* that started it. The users are claimed by locks, so that several
workers of one machine do not share any, and so that a lock taken tells that whoever had it is gone and may be swept up.
"""

import fcntl
import hashlib
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import structlog

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.sandbox import linux
from crossdock.runners.program.sandbox.limiting import tasks_of
from crossdock.runners.program.sandbox.spec import SandboxError

FIRST_UID: Final = 60706
"""The first of a range that distributions and systemd leave alone."""
LAST_UID: Final = 61183
_CLAIMS: Final = Path("/run/crossdock-sandbox")
_SWEEP_SECONDS: Final = 10.0

_log: Final[Any] = structlog.get_logger("crossdock.sandbox")


class Slot:
    """One of the boxes that may run at the same time.

    Args:
        name: unlike that of every other slot of this machine.
        uid: the user of its boxes; None: the one of this process.
        folder: where it keeps output while programs run.
        anchor: a directory that the user can reach, below which, for its boxes alone, others are mounted that it cannot.
        lock: the descriptor that holds the claim.
    """

    def __init__(self, name: str, uid: int | None, folder: Path, anchor: Path | None, lock: int) -> None:
        self.name = name
        self.uid = uid
        self.folder = folder
        self._anchor = anchor if uid is not None and linux.capable(linux.CAP_SYS_ADMIN) else None
        self._lock = lock
        self._number = 0
        self.thread = ThreadPoolExecutor(1, f"box {name}", self._begin)

    def next_number(self) -> int:
        """Return a number not used before for a box of this slot by this process."""
        self._number += 1
        return self._number

    @contextmanager
    def view(self, path: Path) -> Generator[Path]:
        """Give a path under which the user of the boxes reaches ``path``. Only in the slot's thread.

        Args:
            path: a file or directory, perhaps below directories that only we may pass.

        Raises:
            SandboxError: it cannot be reached.
        """
        blocking = None if self.uid is None else _blocking(path)
        if self._anchor is None or not blocking:
            if blocking:
                raise SandboxError(f"users of boxes cannot reach {path}: chmod o+x {blocking}, or keep jobs elsewhere")
            yield path
            return
        place = self._anchor / str(self.next_number())
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            place.mkdir() if stat.S_ISDIR(os.fstat(opened).st_mode) else place.touch()
            linux.bind_mount(opened, place)
        finally:
            os.close(opened)
        try:
            yield place
        finally:
            linux.unmount(place)
            place.rmdir() if place.is_dir() else place.unlink()

    def sweep(self) -> None:
        """End every process of the slot's user.

        Raises:
            SandboxError: one does not end.
        """
        if self.uid is None:
            return
        deadline = time.monotonic() + _SWEEP_SECONDS
        while tasks_of(self.uid):
            if time.monotonic() > deadline:
                raise SandboxError(f"processes of user {self.uid} do not end")
            killer = ["/bin/sh", "-c", "kill -9 -1"]
            subprocess.run(killer, user=self.uid, group=self.uid, extra_groups=[], env={}, check=False)  # noqa: S603
            time.sleep(0.01)

    def close(self) -> None:
        """End its thread and give up the claim."""
        self.thread.shutdown()
        os.close(self._lock)

    def _begin(self) -> None:
        if self._anchor is None:
            return
        try:
            linux.own_mounts()
            linux.memory_mount(self._anchor)
        except OSError as error:  # as in a chroot, whose root is no mount: boxes then reach only what their users may pass
            _log.warning("boxes cannot have mounts of their own", reason=str(error))
            self._anchor = None


def has_own_users() -> bool:
    """Tell whether boxes get users of their own: this process is root and can become them."""
    return os.geteuid() == 0


def claim_slots(state: Path, count: int) -> list[Slot]:
    """Return that many slots that nobody else has.

    Raises:
        CrossdockError: ``unavailable`` if there are not so many, or no place to claim them.
    """
    slots: list[Slot] = []
    try:
        folder = state / "output"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, uid, claim in _candidates(state):
            if len(slots) == count:
                break
            lock = _lock(claim)
            if lock is not None:
                slots.append(Slot(name, uid, folder, _anchor(claim) if uid is not None else None, lock))
    except OSError as error:
        _give_up(slots)
        raise CrossdockError(Code.UNAVAILABLE, f"slots for boxes cannot be claimed: {error}") from error
    if len(slots) < count:
        _give_up(slots)
        raise CrossdockError(Code.UNAVAILABLE, f"only {len(slots)} of {count} slots for boxes are free")
    return slots


def _candidates(state: Path) -> Iterator[tuple[str, int | None, Path]]:
    """Yield names, users and claims of slots."""
    if not has_own_users():
        prefix = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:8]
        claims = state / "claims"
        claims.mkdir(mode=0o700, exist_ok=True)
        for number in range(LAST_UID - FIRST_UID):
            yield f"{prefix}.{number}", None, claims / str(number)
        return
    _CLAIMS.mkdir(mode=0o711, exist_ok=True)
    for uid in range(FIRST_UID, LAST_UID + 1):
        with suppress(KeyError):
            pwd.getpwuid(uid)
            continue
        yield str(uid), uid, _CLAIMS / f"{uid}.lock"


def _lock(claim: Path) -> int | None:
    lock = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _anchor(claim: Path) -> Path:
    anchor = claim.with_suffix("")
    anchor.mkdir(mode=0o711, exist_ok=True)
    return anchor


def _give_up(slots: list[Slot]) -> None:
    for slot in slots:
        slot.close()


def _blocking(path: Path) -> Path | None:
    """Return the first directory above ``path`` that others may not pass."""
    return next((parent for parent in path.resolve().parents if not parent.stat().st_mode & 0o001), None)
