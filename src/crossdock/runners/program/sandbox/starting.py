"""What starting a program in a box takes on every tier: descriptors to hand on, a process, and ways to wait for it."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossdock.runners.program.sandbox.layout import Layout, Streams
from crossdock.runners.program.sandbox.spec import Program, SandboxError, Tier

_START_SECONDS: Final = 60.0
"""A box takes milliseconds; a machine that is too busy for this long has other troubles."""
_ORDERLY_SECONDS: Final = 2.0
"""The first process kills all others and reports; if it does not, it is killed itself."""
_END_SECONDS: Final = 30.0


class Order(Struct, frozen=True, kw_only=True):
    """A program with all that was prepared for it."""

    program: Program
    layout: Layout
    streams: Streams
    tier: Tier
    uid: int | None
    """The user of the box; None: the one of this process."""
    scratch: Path | None = None
    """A directory for temporary files, where the box has no /tmp of its own."""


class Channel:
    """Descriptors between us and a box: what the first process says, what keeps it alive, and what it is to read."""

    def __init__(self) -> None:
        self.report, self.report_in = os.pipe()
        self.life_out, self._life = os.pipe()
        self.said = os.memfd_create("said")
        self._ours = [self.report, self._life, self.said]
        self._theirs = [self.report_in, self.life_out]

    def pipe(self) -> tuple[int, int]:
        """Return another pipe for what the box tells: our end and its end."""
        ours, theirs = os.pipe()
        self._ours.append(ours)
        self._theirs.append(theirs)
        return ours, theirs

    def give(self, content: bytes) -> int:
        """Return a descriptor from which the box can read ``content``."""
        descriptor = os.memfd_create("given")
        self._theirs.append(descriptor)
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def adopt(self, descriptor: int) -> int:
        """Take over a descriptor that is only for the box."""
        self._theirs.append(descriptor)
        return descriptor

    def spawn(
        self, arguments: Sequence[str], order: Order, *, errors: int, uid: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process with an empty environment, in a session of its own, with the box's descriptors.

        Args:
            arguments: the command.
            order: what it is for.
            errors: its standard error.
            uid: the user it becomes; None: ours.

        Raises:
            SandboxError: it cannot be started.
        """
        descriptors = (*self._theirs, order.streams.errors)
        try:
            return subprocess.Popen(  # noqa: S603
                arguments,
                stdin=order.streams.input,
                stdout=order.streams.output,
                stderr=errors,
                pass_fds=descriptors,
                env={},
                cwd="/",
                start_new_session=True,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxError(f"{arguments[0]} cannot be started: {error}") from error
        finally:
            _close(self._theirs)  # or the end of theirs would never show

    def release(self) -> None:
        """Let the program begin."""
        os.write(self._life, b"!")

    def let_go(self) -> None:
        """Have the first process end everything."""
        if self._life in self._ours:
            self._ours.remove(self._life)
            os.close(self._life)

    def ready(self, cancelled: int) -> bool:
        """Wait for the first process to be ready; False: it is not and never will be, or somebody cancelled."""
        text = b""
        deadline = time.monotonic() + _START_SECONDS
        while not text.endswith(b"\n"):
            if not _readable(self.report, cancelled, deadline):
                return False
            read = os.read(self.report, 1)
            if not read:
                return False
            text += read
        return text == b"ready\n"

    def rest(self) -> bytes:
        """Return all that the first process said, once it has ended."""
        text = b""
        while read := os.read(self.report, 65536):
            text += read
        return text

    def complaint(self) -> str:
        """Return what was said about the box itself."""
        return os.pread(self.said, 1000, 0).decode(errors="replace").strip()

    def close(self) -> None:
        """Close everything."""
        _close(self._ours)
        _close(self._theirs)


class Started:
    """A box that waits to be released.

    Args:
        process: the child of ours that ends when the box has.
        root: the process below which the program will be; None: ``process``.
        channel: its descriptors.
        exact: whether its first process is ours and reports.
    """

    def __init__(self, process: subprocess.Popen[bytes], root: int | None, channel: Channel, *, exact: bool) -> None:
        self.process = process
        self.root = root or process.pid
        self.channel = channel
        self.exact = exact
        self.ended = os.pidfd_open(process.pid)
        self._first = None if root is None else os.pidfd_open(root)

    def kill(self) -> None:
        """End the box with everything in it, and wait for that.

        Raises:
            SandboxError: it does not end.
        """
        self.channel.let_go()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_ORDERLY_SECONDS if self.exact else 0)
            return
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise SandboxError(f"the box of process {self.root} does not end") from error

    def close(self) -> None:
        """Kill it if it has not ended, and close what belongs to it.

        Raises:
            SandboxError: it does not end.
        """
        try:
            if self.process.poll() is None:
                self.kill()
        finally:
            _close([descriptor for descriptor in (self.ended, self._first) if descriptor is not None])


def refuse_nul(words: Iterable[str | Path | None]) -> None:
    """Look for what would end a word too early: behind a NUL another one could begin.

    Raises:
        SandboxError: one of the words has a NUL.
    """
    for word in words:
        if "\0" in str(word):
            raise SandboxError(f"{str(word)[:200]!r} has a NUL")


def words_of(program: Program) -> Iterable[str | Path | None]:
    """Yield every text and path of a program."""
    yield from (program.directory, program.stdin, program.stdout, program.stderr, program.chdir)
    yield from program.arguments
    for name, value in program.environment.items():
        yield from (name, value)
    for bind in program.binds:
        yield from (bind.target, bind.source)


def child_of(info: int, cancelled: int) -> int | None:
    """Return the first process of a box as bubblewrap tells it; None if it ended before, or somebody cancelled."""
    text = b""
    deadline = time.monotonic() + _START_SECONDS
    while _readable(info, cancelled, deadline):
        read = os.read(info, 4096)
        if not read:
            return None
        text += read
        with suppress(ValueError):
            return int(json.loads(text)["child-pid"])
    return None


def _readable(descriptor: int, cancelled: int, deadline: float) -> bool:
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    ready.register(cancelled, select.POLLIN)
    found = dict(ready.poll(max(0.0, deadline - time.monotonic()) * 1000))
    return descriptor in found and cancelled not in found


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
