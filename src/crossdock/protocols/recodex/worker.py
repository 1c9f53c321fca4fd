"""A worker's link to a ReCodEx broker elsewhere: the ports ``Dispatch`` and ``Artifacts`` over ZeroMQ.

Any broker will do. One of ours knows the extension, and everything the ports can do is there. To any other one the worker
is a ReCodEx worker with one slot, whose leases are evaluations.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final

import structlog
from msgspec.structs import replace

from crossdock.core.documents import is_large
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Renewal, Verdict, WorkerInfo
from crossdock.http.closing import AsyncClosing
from crossdock.protocols.recodex.extension import (
    LONGEST_CLAIM,
    PART,
    Claim,
    Content,
    Fetch,
    Grant,
    Judged,
    Leave,
    Left,
    Put,
    Renew,
    Renewed,
    Report,
    ReportMembers,
    Stored,
)
from crossdock.protocols.recodex.link import Link
from crossdock.protocols.recodex.messages import EVALUATION
from crossdock.protocols.recodex.worker_address import WorkerAddress
from crossdock.protocols.recodex.worker_portions import clipped, clipped_note, cut, portions, recut
from crossdock.protocols.recodex.worker_pulse import Pulse
from crossdock.protocols.recodex.worker_session import Standing, WorkerSession

_FAREWELL: Final = 2.0
"""Seconds that a worker which leaves waits for the broker to say that it has understood."""
_MOST_LEASES: Final = 16
"""Leases in one answer; each brings a payload of up to 64 KiB."""
_log: Final[Any] = structlog.get_logger("crossdock.worker")
_STATES: Final = {OutcomeKind.SUCCEEDED: State.SUCCEEDED, OutcomeKind.FAILED: State.FAILED}


class RecodexDispatch(AsyncClosing):
    """Implements :class:`~crossdock.core.ports.Dispatch` for one worker at one broker.

    Detach the worker at the end, or use this as a context manager, which does: an open connection keeps a process alive.

    Args:
        address: the broker, see :func:`~crossdock.protocols.recodex.worker_address.parse_connect`.
        patience: seconds that the broker has to answer an introduction or a claim before it counts as away.
        say: is given a line for people whenever it turns out what the broker is.
    """

    def __init__(self, address: WorkerAddress, *, patience: float = 5.0, say: Callable[[str], None] | None = None) -> None:
        self._address = address
        self._say = say
        self._patience = patience
        self._worker = ""
        self._link: Link | None = None
        self._uploads = itertools.count(1)

    async def close(self) -> None:
        """Detach the worker."""
        await self.detach(self._worker)

    @property
    def standing(self) -> Standing:
        """What the broker is to us, as far as it is known."""
        return Standing.STRANGER if self._link is None else self._link.session.standing

    async def attach(self, worker: WorkerInfo, tokens: Sequence[int] = ()) -> Renewal:
        """Introduce a worker; ``tokens`` are leases it still holds from before.

        Raises:
            CrossdockError: ``unavailable`` if the broker does not answer; going on trying is this object's business.
                ``invalid`` if it is a broker without the extension, and the worker runs no evaluations.
        """
        link = self._link
        if link is None or self._worker != worker.id:
            link = await self._connect(worker)
        elif link.session.standing is Standing.EXTENDED:
            link.session.questions.hold(tokens)
            link.introduce()
        await self._introduced(link, asyncio.get_running_loop().time() + self._patience)
        return await self.renew(worker.id, tokens) if tokens else Renewal((), ())

    async def detach(self, worker: str) -> None:
        """Forget a worker and close the connection; what it has leased and not reported is handed back.

        A broker without the extension notices after some seconds of silence, and gives the job to another worker.
        """
        if self._link is None or worker != self._worker:
            return
        link, self._link = self._link, None
        try:
            await self._take_leave(link)
        except (CrossdockError, TimeoutError):  # it is away, or does not know us: then it need not be told
            pass
        finally:
            await link.stop()

    async def claim(self, worker: str, limit: int, wait: float = 0.0) -> list[Lease]:
        """Return up to ``limit`` leases, waiting at most ``wait`` seconds for the first; of evaluations only one runs."""
        link = self._linked(worker)
        ends = asyncio.get_running_loop().time() + wait
        while True:
            if leases := link.session.next_leases(limit):
                return leases
            if link.session.standing is Standing.STRANGER:
                await self._introduced(link, max(ends, asyncio.get_running_loop().time() + self._patience))
            left = max(ends - asyncio.get_running_loop().time(), 0.0)
            if link.session.standing is Standing.EXTENDED:
                claim = Claim(min(limit, _MOST_LEASES), min(left, LONGEST_CLAIM))
                return list((await link.ask(claim, Grant, claim.wait)).leases)
            if link.session.standing is Standing.UNFIT:
                raise _refusal(link)
            if not await link.changed(ends):
                return link.session.next_leases(limit)

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        """Say that these leases are alive; learn which are not any more, and which should stop."""
        link = self._linked(worker)
        alive = link.session.evaluations.alive(tuple(tokens))
        if alive or link.session.standing is Standing.PLAIN:
            return Renewal(alive, ())
        return (await link.ask(Renew(tuple(tokens)), Renewed)).renewal

    async def note(self, token: int, note: Note) -> None:
        """Pass on what a running attempt says of itself; it is lost while the broker is away."""
        link = self._linked()
        link.session.note(token, clipped_note(note))
        link.carry_out()

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        """End an attempt. Our broker's verdict is durable on return; other brokers give none, so that one is ours."""
        link = self._linked()
        if link.session.end(token, clipped(outcome)):
            link.carry_out()
            return Verdict(late=False, state=_STATES.get(outcome.kind))
        if link.session.standing is Standing.PLAIN:
            return Verdict(late=True)
        return (await link.ask(Report(token, await self._sendable(outcome)), Judged)).verdict

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        """Record outcomes of members of a leased array chunk; the lease ends with the last of them."""
        link = self._linked()
        if link.session.standing is Standing.PLAIN:
            return Verdict(late=True)
        sendable = [replace(item, outcome=await self._sendable(item.outcome)) for item in outcomes]
        verdict = Verdict(late=False)
        for part in portions(sendable):
            verdict = (await link.ask(ReportMembers(token, part), Judged)).verdict
            if verdict.late:
                break
        return verdict

    async def fetch(self, ref: ArtifactRef, start: int, end: int) -> bytes:
        """Return a part of an artifact, at most :data:`~crossdock.protocols.recodex.extension.PART` bytes."""
        return (await self._extended().ask(Fetch(ref, start, end), Content)).data

    async def store(self, content: AsyncIterator[bytes], media_type: str) -> ArtifactRef:
        """Send an artifact, in parts.

        Raises:
            CrossdockError: ``unavailable`` if the connection was lost on the way: the broker has forgotten what came.
        """
        link, upload = self._extended(), next(self._uploads)
        waiting = b""
        async for part in content:
            if waiting:
                await link.ask(Put(upload, waiting, last=False, media_type=media_type), Stored)
            waiting = part
        stored = await link.ask(Put(upload, waiting, last=True, media_type=media_type), Stored)
        if stored.ref is None:
            raise CrossdockError(Code.INTERNAL, "the broker does not say where it has stored the artifact")
        return stored.ref

    async def _connect(self, worker: WorkerInfo) -> Link:
        if self._link is not None:
            await self.detach(self._worker)
        if self._address.description:
            worker = replace(worker, description=self._address.description)
        pulse = Pulse(self._address.ping_interval, self._address.liveness)
        session = WorkerSession(worker, pulse, old_done=self._address.old_done)
        link = Link(self._address, session, lambda standing: self._met(standing, worker, session))
        try:
            link.start()
        except CrossdockError:
            await link.stop()
            raise
        self._link, self._worker = link, worker.id
        return link

    def _met(self, standing: Standing, worker: WorkerInfo, session: WorkerSession) -> None:
        """Tell people what their worker is good for at this broker."""
        kinds = [kind for kind in worker.capabilities.values.get("kind", ()) if kind != EVALUATION]
        if standing is Standing.EXTENDED:
            text = f"knows Crossdock's extension: all kinds, {worker.slots} at once"
        elif standing is Standing.UNFIT:
            text = f"nothing to do there: {session.refusal.message}"
        else:
            left_out = f"; not for {', '.join(kinds)}" if kinds else ""
            text = f"does not know Crossdock's extension: one evaluation at a time, as an ordinary ReCodEx worker{left_out}"
        _log.info("a broker was met", broker=self._address.endpoint, standing=standing.name.lower())
        if self._say is not None:
            self._say(f"crossdock: {self._address.endpoint} {text}")

    async def _introduced(self, link: Link, deadline: float) -> None:
        while link.session.standing is Standing.STRANGER:
            if not await link.changed(deadline):
                text = f"{link.endpoint} does not answer; is a ReCodEx broker listening for workers there?"
                raise CrossdockError(Code.UNAVAILABLE, text)
        if link.session.standing is Standing.UNFIT:
            raise _refusal(link)

    async def _take_leave(self, link: Link) -> None:
        if link.session.standing is Standing.EXTENDED:
            async with asyncio.timeout(_FAREWELL):
                await link.ask(Leave(), Left)
        deadline = asyncio.get_running_loop().time() + _FAREWELL
        while link.session.evaluations.unheard and await link.changed(deadline):
            pass

    async def _sendable(self, outcome: Outcome) -> Outcome:
        """Return an outcome that fits into a message: a large result is stored first."""
        if is_large(outcome.result) and isinstance(outcome.result, bytes):
            outcome = replace(outcome, result=await self.store(cut(outcome.result), "application/json"))
        return clipped(outcome)

    def _linked(self, worker: str | None = None) -> Link:
        if self._link is None or (worker is not None and worker != self._worker):
            raise CrossdockError(Code.NOT_FOUND, "this worker is not attached")
        return self._link

    def _extended(self) -> Link:
        link = self._linked()
        if link.session.standing in {Standing.PLAIN, Standing.UNFIT}:
            raise CrossdockError(Code.INVALID, f"the broker at {link.endpoint} keeps no artifacts for workers")
        return link


class RecodexArtifacts:
    """Implements :class:`~crossdock.core.ports.Artifacts` with the bytes at the broker, which has to be one of ours."""

    def __init__(self, dispatch: RecodexDispatch) -> None:
        self._dispatch = dispatch

    async def put(self, content: bytes | AsyncIterator[bytes], media_type: str = "application/json") -> ArtifactRef:
        """Store content at the broker; durable on return."""
        return await self._dispatch.store(cut(content) if isinstance(content, bytes) else recut(content), media_type)

    async def read(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Stream the bytes ``start`` to ``end`` (exclusive; None: to the end). Raises ``not_found``."""
        stop = ref.size if end is None else min(end, ref.size)
        while start < stop:
            content = await self._dispatch.fetch(ref, start, min(start + PART, stop))
            if not content:
                raise CrossdockError(Code.INTERNAL, "the broker's artifact is shorter than it should be")
            start += len(content)
            yield content

    async def delete(self, digests: Sequence[str]) -> None:
        """Refuse: the broker sweeps its artifacts itself."""
        del digests
        raise CrossdockError(Code.INVALID, "this is not asked over a worker's link but of the server itself")


def _refusal(link: Link) -> CrossdockError:
    refusal = link.session.refusal
    return CrossdockError(refusal.code, f"{link.endpoint}: {refusal.message}")
