"""The parent's end of one child process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from crossdock.runners.function import guard, tree
from crossdock.runners.function.frames import (
    Assembler,
    Broken,
    FromChild,
    FromParent,
    Ready,
    from_child,
    head,
)

_PROGRAM: Final = "crossdock.runners.function.child"
_READ: Final = 256 * 1024
_JOINED: Final = 64 * 1024
_LAST_WORDS: Final = 1.0
"""Seconds that a child may live on after its end of the socket closed."""


class ChildDied(Exception):
    """The process has ended, by a signal (negative ``status``) or by exiting."""

    def __init__(self, status: int) -> None:
        super().__init__(describe(status))
        self.status = status


class CannotStart(Exception):
    """A new child could not load the app."""


def describe(status: int) -> str:
    """Say in words how a process ended, given its return code."""
    if status >= 0:
        return f"the worker process exited with status {status}"
    hint = ", which the system does when memory runs out" if status == -signal.SIGKILL else ""
    return f"the worker process was ended by {signal.Signals(-status).name}{hint}"


def _start(descriptor: int, reference: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", _PROGRAM, str(descriptor), str(os.getpid()), reference],
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=[descriptor],
        start_new_session=True,
    )


class Guard:
    """The process that outlives this one just long enough to end what it leaves behind."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(Path(guard.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Kill this process group if our process dies."""
        self._tell(b"+%d\n" % group)

    def forget(self, group: int) -> None:
        """Leave this process group alone from now on."""
        self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """End the guard."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: bytes) -> None:
        if self._process.stdin is not None:
            # A guard that somebody killed is a comfort lost, not a reason to stop.
            with suppress(OSError):
                os.write(self._process.stdin.fileno(), line)


class Child:
    """One child process, the leader of its own session and process group.

    Must be made in the thread of a running event loop: the kernel ties the child's life to that thread.
    """

    def __init__(self, reference: str, guard_: Guard) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard_
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        with theirs:
            self._process = _start(theirs.fileno(), reference)
        self.pid: Final = self._process.pid
        guard_.watch(self.pid)
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._watched = os.pidfd_open(self.pid)
        self._loop.add_reader(self._watched, self._reap)
        self._assembler = Assembler()
        self._sending = asyncio.Lock()
        self._doomed = False
        self.jobs = 0
        self.ready = False

    @property
    def usable(self) -> bool:
        """Whether the process lives and is meant to."""
        return not self._doomed and not self._exited.done()

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._exited.done()

    async def wait_ready(self) -> None:
        """Wait until the app is loaded.

        Raises:
            CannotStart: if it cannot be, or the process ended meanwhile.
        """
        try:
            match await self.receive():
                case [(Ready(), _)]:
                    self.ready = True
                    return
                case [(Broken() as broken, _)]:
                    problem = broken.message
                case _:
                    problem = "it does not speak our protocol"
        except ChildDied as died:
            problem = str(died)
        raise CannotStart(problem)

    async def send(self, message: FromParent, *parts: bytes) -> None:
        """Send a frame whose body is the parts one after another. One frame after the other: a child may be slow to read.

        Raises:
            ChildDied: if nobody is there to read it.
        """
        start = head(message, sum(map(len, parts)))
        pieces = (start + b"".join(parts),) if sum(map(len, parts)) <= _JOINED else (start, *parts)
        try:
            async with self._sending:
                for piece in pieces:
                    await self._loop.sock_sendall(self._socket, piece)
        except OSError:
            raise ChildDied(await self._exit_soon()) from None

    async def receive(self) -> list[tuple[FromChild, bytes]]:
        """Return the next frames, at least one. What is not asked for stays in the socket, and the child waits.

        Raises:
            ChildDied: once everything that it had sent is received.
        """
        while True:
            try:
                data = await self._loop.sock_recv(self._socket, _READ)
            except OSError:
                data = b""
            if not data:
                raise ChildDied(await self._exit_soon())
            try:
                frames = [(from_child.decode(text), body) for text, body in self._assembler.feed(data)]
            except (ValueError, msgspec.DecodeError):
                # User code has written to a descriptor that is none of its business; nothing can be believed any more.
                self.kill()
                raise ChildDied(await self.exited()) from None
            if frames:
                return frames
            # A large body that arrives without a pause must not keep everybody else waiting.
            await asyncio.sleep(0)

    def kill(self) -> None:
        """Kill the process with its group, and with those descendants that left the group."""
        self._doomed = True
        if self._exited.done():
            return
        strays = tree.descendants(self.pid)
        self._signal_group()
        for pid in strays:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def retire(self) -> None:
        """Let an idle child end by itself: its socket closes."""
        self._doomed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    async def exited(self) -> int:
        """Return the return code once the process has ended."""
        return await asyncio.shield(self._exited)

    def memory(self) -> int:
        """Return the bytes of memory that the process holds, without descendants."""
        return tree.own_resident(self.pid)

    def close(self) -> None:
        """Close the socket of a process that has ended."""
        self._socket.close()

    async def _exit_soon(self) -> int:
        done, _ = await asyncio.wait([self._exited], timeout=_LAST_WORDS)
        if not done:
            self.kill()
        return await self.exited()

    def _signal_group(self) -> None:
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        # The group must go before its leader is reaped: until then nobody else can get its number.
        self._signal_group()
        self._guard.forget(self.pid)
        self._exited.set_result(self._process.wait())
        # A forked grandchild may hold the other end; what was sent can be read nevertheless.
        self.retire()
