"""A worker's link to the jobs queue of any json-bus node: the ports ``Dispatch`` and ``Artifacts`` over RabbitMQ.

A node of ours has a quorum queue for its workers. Where there is none, jobs come from the queue of the PHP library, which
this link declares as that library does: it vanishes, with what waits in it, when the last worker leaves.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Renewal, Verdict, WorkerInfo
from crossdock.protocols.jsonbus.bus import Bus, Delivery, Unroutable
from crossdock.protocols.jsonbus.letters import letter
from crossdock.protocols.jsonbus.messages import Result
from crossdock.protocols.jsonbus.worker_address import WorkerAddress
from crossdock.protocols.jsonbus.worker_session import WorkerSession
from crossdock.protocols.jsonbus.worker_source import LOOK_AGAIN, JobsSource

_STATES: Final = {OutcomeKind.SUCCEEDED: State.SUCCEEDED, OutcomeKind.RELEASED: State.READY}


class JsonbusDispatch:
    """Implements :class:`~crossdock.core.ports.Dispatch` for one worker at one jobs queue.

    Leases are never lost: the node hears nothing of a job but its result, and nothing here hears of the node's leases.

    Args:
        bus: RabbitMQ.
        address: which jobs queue, see :func:`~crossdock.protocols.jsonbus.worker_address.parse_connect`.
        say: is given a line for people when it turns out where jobs come from.
        look_again: seconds between two looks for a queue of ours.
    """

    def __init__(
        self,
        bus: Bus,
        address: WorkerAddress,
        *,
        say: Callable[[str], None] | None = None,
        look_again: float = LOOK_AGAIN,
    ) -> None:
        self._bus = bus
        self._address = address
        self._say = say
        self._worker: WorkerInfo | None = None
        self._session = WorkerSession(address, ())
        self._source = JobsSource(bus, address, self._receive, self._found, look_again)
        self._arrived = asyncio.Event()

    async def attach(self, worker: WorkerInfo, tokens: Sequence[int] = ()) -> Renewal:
        """Begin to take jobs for a worker, as many as it has slots, and those that it may have ahead.

        Raises:
            CrossdockError: ``unavailable`` while RabbitMQ is away.
        """
        if self._worker is None or self._worker.id != worker.id:
            await self._leave()
            self._session = WorkerSession(self._address, worker.capabilities.values.get("kind", ()))
            await self._source.open(worker.slots + self._address.ahead)
            self._worker = worker
        return Renewal(self._session.alive(tokens), ())

    async def detach(self, worker: str) -> None:
        """Take nothing more; what was not reported is given back for other workers."""
        if self._worker is not None and self._worker.id == worker:
            await self._leave()

    async def pause(self) -> None:
        """Take nothing more, and give back at once what waits here; what runs goes on and can be reported."""
        # In this order: what is given back while we still listen would come to us again.
        await self._source.close()
        self._session.pause()

    async def claim(self, worker: str, limit: int, wait: float = 0.0) -> list[Lease]:
        """Return up to ``limit`` leases, waiting at most ``wait`` seconds for the first."""
        self._check(worker)
        await self._source.look_again()
        if not self._session.waiting:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, self._source.pause)):
                    await self._arrived.wait()
        return self._session.next_leases(limit)

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        """Say which leases are still ours to report. Jobs are never cancelled over json-bus."""
        self._check(worker)
        self._session.expire(_now())
        self._adjust()
        return Renewal(self._session.alive(tokens), ())

    async def note(self, token: int, note: Note) -> None:
        """Drop it: json-bus has no words for progress."""
        del token, note

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        """Publish the result of a job. Once the broker has confirmed it, the job is acknowledged.

        Raises:
            CrossdockError: ``unavailable`` while nobody takes the result, ``too_large`` or ``invalid`` if nobody ever will.
        """
        session = self._session
        if not session.alive((token,)):
            return Verdict(late=True)
        result = session.answer(token, outcome)
        if result is not None:
            await self._publish(result)
            session.settled(token)
            self._adjust()
        return Verdict(late=False, state=_STATES.get(outcome.kind, State.FAILED))

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        """Refuse: there are no arrays on json-bus, so no lease has members."""
        del token, outcomes
        return Verdict(late=True)

    async def _publish(self, result: Result) -> None:
        sent = letter(result, self._address.results)
        size, largest = len(sent.body), self._address.largest
        if size > largest:
            text = f"the result takes {size:,} bytes, and a message here at most {largest:,}; return where it lies instead"
            raise CrossdockError(Code.TOO_LARGE, text)
        try:
            await self._bus.publish(sent)
        except Unroutable:
            text = f"no queue takes results under the key {self._address.results!r}; is the node running?"
            raise CrossdockError(Code.UNAVAILABLE, text) from None

    async def _leave(self) -> None:
        self._worker = None
        await self._source.close()
        self._session.leave()

    def _receive(self, delivery: Delivery, foreign: bool) -> None:
        self._session.receive(delivery, _now(), foreign=foreign)
        self._arrived.set()

    def _found(self, queue: str) -> None:
        if self._say is not None:
            self._say(f"crossdock: jobs come from the queue {queue}, results go out under the key {self._address.results}")

    def _adjust(self) -> None:
        """Let RabbitMQ leave as many jobs with us as there are slots without one that is acknowledged and goes on."""
        if self._worker is not None and not self._session.leaving:
            self._source.limit(max(self._worker.slots + self._address.ahead - self._session.acknowledged, 0))

    def _check(self, worker: str) -> None:
        if self._worker is None or self._worker.id != worker:
            raise CrossdockError(Code.NOT_FOUND, "this worker is not attached")


class JsonbusArtifacts:
    """Implements :class:`~crossdock.core.ports.Artifacts` by refusing: there is no place for bytes on json-bus."""

    async def put(self, content: bytes | AsyncIterator[bytes], media_type: str = "application/json") -> ArtifactRef:
        """Refuse: nobody could fetch it."""
        del content, media_type
        _refuse()

    async def read(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Refuse: nothing was stored."""
        del ref, start, end
        _refuse()
        yield b""

    async def delete(self, digests: Sequence[str]) -> None:
        """Do nothing: nothing was stored."""
        del digests


def _refuse() -> NoReturn:
    text = "workers on json-bus have no place for artifacts: put the data, or a URL where they lie, into the result"
    raise CrossdockError(Code.INVALID, text)


def _now() -> float:
    return asyncio.get_running_loop().time()
