"""The broker's side of our extension: every question of a worker is answered by the port it is named after."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Lease, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Dispatch
from crossdock.core.requests import LOCAL, WorkerInfo
from crossdock.http.strict_json import parse
from crossdock.protocols.recodex import extension as wire
from crossdock.protocols.recodex.messages import EXTENSION, Extended, Init
from crossdock.protocols.recodex.translation import PLAIN, capabilities

_LONGEST_NAME: Final = 200
_MOST_SLOTS: Final = 10_000
_MOST_QUESTIONS: Final = 256
"""Questions of one worker that may be open at once, beside one report per slot."""
_MOST_UPLOADS: Final = 64
_RELEASED: Final = Outcome(kind=OutcomeKind.RELEASED, code="released", message="the worker could not be reached")

Reply = Callable[[Extended, Callable[[], None] | None], None]
"""Sends an answer; the second argument is called if the peer has gone."""

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class _Guest:
    """A worker that speaks the extension: what it holds, and what it asked that is not answered yet."""

    def __init__(self, info: WorkerInfo) -> None:
        self.info = info
        self.tokens: set[int] = set()
        self.open: set[asyncio.Task[None]] = set()
        self.passing: set[asyncio.Task[None]] = set()
        """Questions that mean nothing after their connection: claims, and parts of uploads."""
        self.uploads: dict[int, _Upload] = {}

    def end_connection(self) -> None:
        """Give up what only the connection until now could go on with."""
        for task in self.passing:
            task.cancel()
        for upload in self.uploads.values():
            upload.cancel()
        self.uploads.clear()


class ExtendedWorkers:
    """All workers that speak the extension.

    Args:
        dispatch: where they work.
        artifacts: where large payloads and results are.
        left: is told of each worker that says good-bye.
    """

    def __init__(self, dispatch: Dispatch, artifacts: Artifacts, left: Callable[[str], None]) -> None:
        self._dispatch = dispatch
        self._left = left
        self._artifacts = artifacts
        self._guests: dict[str, _Guest] = {}

    async def welcome(self, init: Init) -> tuple[str, wire.Welcome]:
        """Attach a worker; return its id and the answer.

        Raises:
            CrossdockError: ``invalid`` if it does not introduce itself properly.
        """
        hello = _hello(init)
        if not 0 < len(hello.worker) <= _LONGEST_NAME or hello.worker.startswith((LOCAL, PLAIN)):
            raise CrossdockError(Code.INVALID, f"a worker cannot be called {hello.worker[:40]!r}")
        info = WorkerInfo(
            id=hello.worker,
            slots=max(1, min(hello.slots, _MOST_SLOTS)),
            capabilities=capabilities(init, hello.kinds),
            description=init.about("description") or "",
        )
        renewal = await self._dispatch.attach(info, hello.tokens)
        guest = self._guests.setdefault(info.id, _Guest(info))
        guest.info = info
        guest.tokens = set(renewal.alive)
        guest.end_connection()
        return info.id, wire.Welcome(renewal)

    def ask(self, worker: str, message: Extended, reply: Reply) -> None:
        """Take a question; its answer is sent when it is there."""
        guest = self._guests.get(worker)
        if guest is None:
            return
        if len(guest.open) + len(guest.passing) >= _MOST_QUESTIONS + guest.info.slots:
            refused = CrossdockError(Code.UNAVAILABLE, "too many questions are open")
            reply(Extended(message.ticket, wire.encode_body(_refused(refused))), None)
            return
        try:
            question = wire.decode_question(message.body)
        except msgspec.MsgspecError as error:
            refused = CrossdockError(Code.INVALID, f"the question cannot be understood: {error}")
            reply(Extended(message.ticket, wire.encode_body(_refused(refused))), None)
            return
        task = asyncio.create_task(self._respond(guest, question, message.ticket, reply))
        kept = guest.passing if isinstance(question, wire.Claim | wire.Put) else guest.open
        kept.add(task)
        task.add_done_callback(kept.discard)

    async def lose(self, worker: str, outcome: Outcome) -> None:
        """Forget a worker that fell silent: what it held has failed. It may be back before all of that is on disk."""
        tokens = self.forget(worker)
        await asyncio.gather(*(self._dispatch.report(token, outcome) for token in tokens))
        if worker not in self._guests:
            await self._dispatch.detach(worker)

    def stop(self) -> None:
        """Answer nothing more. What the workers hold stays theirs."""
        for worker in list(self._guests):
            self.forget(worker)

    def forget(self, worker: str) -> set[int]:
        """Answer a worker nothing more; return the tokens that it held."""
        guest = self._guests.pop(worker, None)
        if guest is None:
            return set()
        for task in guest.open:
            if task is not asyncio.current_task():
                task.cancel()
        guest.end_connection()
        return guest.tokens

    async def _respond(self, guest: _Guest, question: wire.Question, ticket: int, reply: Reply) -> None:
        answer: wire.Answer | None
        try:
            answer = await self._answer(guest, question)
        except CrossdockError as error:
            answer = _refused(error)
        except Exception:  # noqa: BLE001 - a fault of ours must not leave the worker without an answer
            _log.exception("a worker's question could not be answered", worker=guest.info.id)
            answer = wire.Refused(Code.INTERNAL, "the broker failed; its log says how")
        if answer is None or not ticket:
            return
        lost = partial(self._undelivered, guest, answer.leases) if isinstance(answer, wire.Grant) else None
        reply(Extended(ticket, wire.encode_body(answer)), lost)

    def _undelivered(self, guest: _Guest, leases: tuple[Lease, ...]) -> None:
        task = asyncio.create_task(self._hand_back(guest, leases))
        guest.open.add(task)
        task.add_done_callback(guest.open.discard)

    async def _hand_back(self, guest: _Guest, leases: tuple[Lease, ...]) -> None:
        for lease in leases:
            guest.tokens.discard(lease.token)
            await self._dispatch.report(lease.token, _RELEASED)

    async def _answer(self, guest: _Guest, question: wire.Question) -> wire.Answer | None:
        """Ask the port that a question is meant for."""
        dispatch, worker = self._dispatch, guest.info.id
        match question:
            case wire.Claim():
                limit = max(1, min(question.limit, guest.info.slots))
                leases = await dispatch.claim(worker, limit, min(question.wait, wire.LONGEST_CLAIM))
                guest.tokens.update(lease.token for lease in leases)
                return wire.Grant(tuple(leases))
            case wire.Renew():
                renewal = await dispatch.renew(worker, question.tokens)
                guest.tokens.difference_update(set(question.tokens).difference(renewal.alive))
                return wire.Renewed(renewal)
            case wire.Say():
                await dispatch.note(self._own(guest, question.token), question.note)
                return None
            case wire.Report() | wire.ReportMembers():
                return await self._end(guest, question)
            case wire.Leave():
                self.forget(worker)
                self._left(worker)
                await dispatch.detach(worker)
                return wire.Left()
            case wire.Fetch() | wire.Put():
                return await self._move(guest, question)

    async def _end(self, guest: _Guest, question: wire.Report | wire.ReportMembers) -> wire.Judged:
        """Record how attempts ended. Late reports may be for tokens that the guest holds no more: the core judges them."""
        outcomes = (
            (question.outcome,) if isinstance(question, wire.Report) else tuple(item.outcome for item in question.outcomes)
        )
        for outcome in outcomes:
            await _check_result(outcome)
        if isinstance(question, wire.ReportMembers):
            return wire.Judged(await self._dispatch.report_members(question.token, question.outcomes))
        verdict = await self._dispatch.report(question.token, question.outcome)
        guest.tokens.discard(question.token)
        return wire.Judged(verdict)

    def _own(self, guest: _Guest, token: int) -> int:
        if token not in guest.tokens:
            raise CrossdockError(Code.STALE_LEASE, "this worker does not hold that lease")
        return token

    async def _move(self, guest: _Guest, question: wire.Fetch | wire.Put) -> wire.Answer:
        if isinstance(question, wire.Fetch):
            start, end = max(0, question.start), min(question.end, question.start + wire.PART)
            parts = [part async for part in self._artifacts.read(question.ref, start, end)] if start < end else []
            return wire.Content(b"".join(parts))
        return await self._store(guest, question)

    async def _store(self, guest: _Guest, question: wire.Put) -> wire.Stored:
        """Take the next part of an upload; one that fails is given up."""
        upload = guest.uploads.get(question.upload)
        if upload is None:
            if question.last:
                return wire.Stored(await self._artifacts.put(question.data, question.media_type))
            if len(guest.uploads) >= _MOST_UPLOADS:
                raise CrossdockError(Code.UNAVAILABLE, "too many uploads are open")
            upload = guest.uploads[question.upload] = _Upload(self._artifacts, question.media_type)
        if question.last:
            del guest.uploads[question.upload]
        try:
            if question.last:
                return wire.Stored(await upload.finish(question.data))
            await upload.add(question.data)
        except BaseException:
            upload.cancel()
            if guest.uploads.get(question.upload) is upload:
                del guest.uploads[question.upload]
            raise
        return wire.Stored()


class _Upload:
    """An artifact that comes in parts."""

    def __init__(self, artifacts: Artifacts, media_type: str) -> None:
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._put = asyncio.create_task(self._store(artifacts, media_type))

    async def _store(self, artifacts: Artifacts, media_type: str) -> ArtifactRef:
        return await artifacts.put(self._content(), media_type)

    async def _content(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part

    async def add(self, part: bytes) -> None:
        """Take a part; returns when there is room for the next one. Raises what storing raised."""
        adding = asyncio.ensure_future(self._parts.put(part))
        await asyncio.wait((adding, self._put), return_when=asyncio.FIRST_COMPLETED)
        if not adding.done():
            adding.cancel()
            await self._put

    async def finish(self, part: bytes) -> ArtifactRef:
        """Take the last part; return the reference of the artifact, which is durable then."""
        await self.add(part)
        ending = asyncio.ensure_future(self._parts.put(None))
        try:
            return await self._put
        finally:
            ending.cancel()

    def cancel(self) -> None:
        """Give up."""
        self._put.cancel()


def _hello(init: Init) -> wire.Hello:
    try:
        hello = wire.decode_hello(init.about(EXTENSION) or "")
    except msgspec.MsgspecError as error:
        raise CrossdockError(Code.INVALID, f"the introduction cannot be understood: {error}") from None
    if hello.version != wire.VERSION:
        text = f"this broker speaks version {wire.VERSION} of the extension, the worker {hello.version}"
        raise CrossdockError(Code.INVALID, text)
    return hello


async def _check_result(outcome: Outcome) -> None:
    """Refuse results that are not JSON: they would be put into other documents as they are."""
    if isinstance(outcome.result, bytes):
        try:
            await parse(outcome.result)
        except CrossdockError as error:
            raise CrossdockError(Code.INVALID, f"the result is not JSON: {error.message}") from None


def _refused(error: CrossdockError) -> wire.Refused:
    return wire.Refused(error.code, error.message)
