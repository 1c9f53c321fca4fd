"""One attempt of an async function, in the event loop."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from os import PathLike
from pathlib import Path
from typing import Final, cast

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import MemberId, encode_id, encode_member
from crossdock.core.jobs import Lease, MemberOutcome, Members, Outcome, OutcomeKind, Progress
from crossdock.core.ports import Artifacts, Attempt
from crossdock.core.requests import Note
from crossdock.runners.function.context import NO_ARTIFACTS, Content, Context, reference, refuse_text
from crossdock.runners.function.execution import CANCELLED, execute_async, timed_out
from crossdock.runners.function.members import merged
from crossdock.runners.function.registry import Function

_STUBBORN: Final = 2.0
"""Seconds until a task that swallows its cancellation is given up: nothing can end it but the process."""
_PIECE: Final = 256 * 1024


class LoopChannel:
    """What contexts of async functions speak through."""

    def __init__(self, attempt: Attempt, artifacts: Artifacts | None) -> None:
        self._attempt = attempt
        self._artifacts = artifacts

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        return self._attempt.cancelled

    def progress(self, progress: Progress) -> None:
        """Pass on progress."""
        self._attempt.note(Note(progress=progress))

    def log(self, text: str) -> None:
        """Pass on a line."""
        self._attempt.note(Note(log=text))

    async def artifact(self, content: Content, media_type: str) -> dict[str, object]:
        """Store an artifact. Raises CrossdockError if it cannot be stored."""
        if self._artifacts is None:
            raise CrossdockError(Code.UNAVAILABLE, NO_ARTIFACTS)
        refuse_text(content)
        whole = content if isinstance(content, bytes) else _pieces(content)
        return reference(await self._artifacts.put(whole, media_type))


class LoopRunner:
    """Runs async functions as tasks."""

    def __init__(self, artifacts: Artifacts | None) -> None:
        self._artifacts = artifacts
        self._stubborn: set[asyncio.Task[Outcome]] = set()

    async def run(self, function: Function, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease to its end."""
        if lease.members is not None:
            return await self._run_members(function, lease, attempt, lease.members)
        inputs = cast("tuple[bytes | None, ...]", lease.inputs)
        ctx = Context(LoopChannel(attempt, self._artifacts), encode_id(lease.job), lease.attempt, inputs)
        return await self._call(function, ctx, cast("bytes", lease.payload), lease, attempt)

    def stop(self) -> None:
        """Cancel once more what did not end."""
        for task in self._stubborn:
            task.cancel()

    async def _run_members(self, function: Function, lease: Lease, attempt: Attempt, members: Members) -> Outcome:
        channel = LoopChannel(attempt, self._artifacts)
        inputs = cast("tuple[bytes | None, ...]", lease.inputs)
        try:
            payloads = merged(cast("bytes", lease.payload), members.parameters)
        except CrossdockError as error:
            return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
        for index, payload in zip(members.indexes, payloads, strict=True):
            if attempt.cancelled:
                return CANCELLED
            ctx = Context(channel, encode_member(MemberId(lease.job, index)), lease.attempt, inputs)
            outcome = await self._call(function, ctx, payload, lease, attempt)
            await attempt.member(MemberOutcome(index=index, outcome=outcome))
        return Outcome(kind=OutcomeKind.SUCCEEDED)

    async def _call(self, function: Function, ctx: Context, payload: bytes, lease: Lease, attempt: Attempt) -> Outcome:
        task = asyncio.create_task(execute_async(function, ctx, payload))
        try:
            # A function that waits for nothing ends in its first step, and needs nobody who watches over it.
            await asyncio.sleep(0)
            forced = None if task.done() else await self._watch(task, lease, attempt)
        except asyncio.CancelledError:
            await self._end(task)
            raise
        if forced is not None:
            return forced
        if task.cancelled():
            return Outcome(kind=OutcomeKind.ERRORED, code="CancelledError", message="the function cancelled itself")
        return task.result()

    async def _watch(self, task: asyncio.Task[Outcome], lease: Lease, attempt: Attempt) -> Outcome | None:
        """Wait for a function, but not beyond its limits; return the outcome if it had to be ended."""
        limit = asyncio.create_task(_limit(lease, attempt))
        try:
            await asyncio.wait((task, limit), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return None
            await self._end(task)
            return limit.result()
        finally:
            limit.cancel()

    async def _end(self, task: asyncio.Task[Outcome]) -> None:
        task.cancel()
        await asyncio.wait((task,), timeout=_STUBBORN)
        if not task.done():
            self._stubborn.add(task)
            task.add_done_callback(self._stubborn.discard)


async def _limit(lease: Lease, attempt: Attempt) -> Outcome:
    """Return once the attempt has to end against its will, with the outcome that has."""
    try:
        async with asyncio.timeout(lease.timeout):
            await attempt.wait_cancelled()
            await asyncio.sleep(lease.grace)
            return CANCELLED
    except TimeoutError:
        return timed_out(lease.timeout)


async def _pieces(content: PathLike[str] | Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(content, AsyncIterable):
        async for piece in content:
            yield piece
    elif isinstance(content, PathLike):
        file = await asyncio.to_thread(Path(content).open, "rb")
        with file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece
    else:
        for piece in content:
            yield piece
