"""One attempt in a child process: what is said on the way, and why it may be killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, cast

import msgspec

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Attempt
from crossdock.core.requests import Note
from crossdock.runners.function.context import NO_ARTIFACTS
from crossdock.runners.function.execution import CANCELLED, timed_out
from crossdock.runners.function.frames import Cancel, Ended, FromChild, Piece, Run, Stored, Told
from crossdock.runners.function.process import Child, ChildDied

_CHUNK_PAUSE: Final = 0.003
"""Seconds between two looks at a chunk: its members may end so fast that a look at each would cost more than they do."""


class Running:
    """An attempt, or the rest of a chunk, in one child.

    Args:
        child: an idle one, busy until :meth:`wait` returns.
        lease: what to run, with its documents loaded.
        attempt: who is told.
        artifacts: where the artifacts of the function go, if anywhere.
        memory: bytes of data the child may have.
    """

    def __init__(
        self, child: Child, lease: Lease, attempt: Attempt, artifacts: Artifacts | None, memory: int | None
    ) -> None:
        self._child = child
        self._lease = lease
        self._attempt = attempt
        self._artifacts = artifacts
        self._memory = memory
        self._fate: Outcome | None = None
        self._frames: list[tuple[FromChild, bytes]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._killing: asyncio.TimerHandle | None = None
        self._more_pieces = False
        self.begun = False
        """Whether the child got all of the lease."""
        self.reported = 0
        """Members whose outcome has been passed on."""

    async def wait(self) -> Outcome:
        """Run to the end. If members of a chunk are left then, it is the outcome of the first of them."""
        watcher = asyncio.create_task(self._cancel_when_asked())
        try:
            self._restart_deadline()
            await self._begin()
            return await self._follow()
        except ChildDied as died:
            return self._fate or Outcome(kind=OutcomeKind.ERRORED, code="worker_died", message=str(died))
        except BaseException:
            self._child.kill()
            raise
        finally:
            watcher.cancel()
            for timer in (self._deadline, self._killing):
                if timer is not None:
                    timer.cancel()

    def kill(self, fate: Outcome) -> None:
        """Kill the child with all its descendants; ``fate`` becomes the outcome."""
        self._fate = self._fate or fate
        self._child.kill()

    async def _begin(self) -> None:
        lease = self._lease
        documents = cast("tuple[bytes | None, ...]", (lease.payload, *lease.inputs))
        sizes = tuple(None if text is None else len(text) for text in documents)
        parts = [text for text in documents if text is not None]
        if lease.members is not None:
            parts.append(msgspec.json.encode(lease.members.parameters))
        self._child.jobs += 1
        indexes = lease.members and lease.members.indexes
        run = Run(self._child.jobs, lease.kind, encode_id(lease.job), lease.attempt, sizes, self._memory, indexes)
        await self._child.send(run, *parts)
        self.begun = True

    async def _follow(self) -> Outcome:
        while True:
            message, body = await self._next()
            match message:
                case Ended(index=None):
                    return _outcome(message, body)
                case Ended(index=int(index)):
                    self.reported += 1
                    await self._attempt.member(MemberOutcome(index=index, outcome=_outcome(message, body)))
                case Piece():
                    await self._store(message, body)
                case _:
                    self._tell(message)

    async def _next(self) -> tuple[FromChild, bytes]:
        if not self._frames:
            if self.reported:
                await asyncio.sleep(_CHUNK_PAUSE)
            self._frames = await self._child.receive()
            self._frames.reverse()
            if self._lease.members is not None and any(isinstance(message, Ended) for message, _ in self._frames):
                self._restart_deadline()
        return self._frames.pop()

    def _tell(self, message: FromChild) -> None:
        if isinstance(message, Told):
            self._attempt.note(Note(progress=message.progress, log=message.log))

    def _restart_deadline(self) -> None:
        if self._lease.timeout is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._lease.timeout, lambda: self.kill(timed_out(self._lease.timeout)))

    async def _cancel_when_asked(self) -> None:
        await self._attempt.wait_cancelled()
        # A child that does not even read has no more time than one that reads and goes on.
        self._killing = asyncio.get_running_loop().call_later(self._lease.grace, self.kill, CANCELLED)
        with suppress(ChildDied):
            await self._child.send(Cancel(self._child.jobs))

    async def _store(self, first: Piece, body: bytes) -> None:
        """Stream an artifact from the child to where it rests, and tell the child its name."""
        self._more_pieces = not first.last
        if self._artifacts is None:
            answer = Stored("", 0, Code.UNAVAILABLE, NO_ARTIFACTS)
        else:
            try:
                ref = await self._artifacts.put(self._pieces(body), first.media_type)
                answer = Stored(ref.digest, ref.size)
            except CrossdockError as error:
                answer = Stored("", 0, error.code, error.message)
        while self._more_pieces:
            await self._next_piece()
        await self._child.send(answer)

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        while self._more_pieces:
            yield body
            body = await self._next_piece()

    async def _next_piece(self) -> bytes:
        while True:
            message, body = await self._next()
            if isinstance(message, Piece):
                self._more_pieces = not message.last
                return body
            self._tell(message)


def _outcome(ended: Ended, body: bytes) -> Outcome:
    return Outcome(
        kind=ended.kind,
        result=body if ended.kind is OutcomeKind.SUCCEEDED else None,
        code=ended.code,
        message=ended.message,
        retry_after=ended.retry_after,
    )
