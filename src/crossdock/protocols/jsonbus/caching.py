"""Requests that are known: one job for each, however often and however simultaneously a request comes.

Under client id and request id a record names the job and what was asked, written in the transaction that submits the job.
Requests that may share an answer have a second record under their content. Nothing is remembered outside of the disk but who
is being served this moment: two deliveries of one request take turns.

A record counts as long as its job runs, and for the cache period after its end. The jobs of one client are those of a tenant
``jsonbus:CLIENT``, so that clients get fair shares and none can pass for a tenant of another protocol.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job, Subscriber
from crossdock.core.policy import Overrides
from crossdock.core.ports import Records
from crossdock.core.requests import Record, Submit
from crossdock.protocols.jsonbus import hops
from crossdock.protocols.jsonbus.asker import CHANNEL, Asker, digest
from crossdock.protocols.jsonbus.frontend_session import Known, Offer, Step, decide, is_accident

_REQUESTS: Final = "jsonbus.request"
_SHARED: Final = "jsonbus.shared"
_JOB: Final = b"{job}"
_LONGEST: Final = 7 * 86400.0
"""Seconds that a job is expected to take at the most: its record lasts that much longer than the cache period."""
_MARGIN: Final = 3600.0
"""Seconds that a job is kept longer than its answer counts, so that none is deleted while it is being looked up."""
_TENANT: Final = 200


class Placed(StrEnum):
    """What became of a request, as it is counted."""

    NEW = "requests accepted"
    AGAIN = "answers sent again"
    WAITING = "requests repeated before their answer"
    SHARED = "requests that share another's answer"
    TRIED_AGAIN = "requests tried again after a failure"
    CONFLICT = "request ids used for another request"


class Cache:
    """Places requests.

    Args:
        broker: takes the jobs.
        keep: seconds that an answer counts after the end of its job.
    """

    def __init__(self, broker: Broker, keep: float) -> None:
        self._broker = broker
        self._keep = keep
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}

    async def place(self, offer: Offer) -> Placed:
        """Make a job of a request, or owe its asker the answer of a job that is there; all on disk on return.

        Raises:
            CrossdockError: as for ``Intake.submit``. After ``unavailable`` it can be called again.
        """
        async with self._turn(offer.asker.identity):
            known, step = await self._look(_REQUESTS, offer.asker.identity, offer)
            if known is None and offer.shared:
                async with self._turn(_shared_key(offer)):
                    return await self._place_shared(offer)
            if known is None or step is Step.RUN:
                await self._submit(offer)
                return Placed.NEW if known is None else Placed.TRIED_AGAIN
            if step is Step.CONFLICT:
                return Placed.CONFLICT
            await self._join(offer, known, step)
            return Placed.AGAIN if step is Step.REPEAT else Placed.WAITING

    async def _place_shared(self, offer: Offer) -> Placed:
        known, step = await self._look(_SHARED, _shared_key(offer), offer)
        if known is None or step is Step.RUN:
            await self._submit(offer)
            return Placed.NEW
        await self._join(offer, known, Step.REPEAT)
        return Placed.SHARED

    async def _look(self, space: str, key: str, offer: Offer) -> tuple[Known | None, Step]:
        """Return what is known under a key, if it still counts, and what to do about it."""
        known = await read_known(self._broker.records, space, key)
        job = None if known is None else await self._job(known.job)
        if known is None or job is None or self._is_over(job):
            return None, Step.RUN
        return known, decide(known, job, offer, accident=await self._is_accident(job))

    async def _job(self, job: int) -> Job | None:
        try:
            return await self._broker.intake.job(job)
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            return None

    def _is_over(self, job: Job) -> bool:
        return job.finished is not None and job.finished + self._keep <= self._broker.clock.wall()

    async def _is_accident(self, job: Job) -> bool:
        """Tell whether a job failed by accident; one that failed as others did, whether one of those did."""
        accident = is_accident(job)
        if accident is not None:
            return accident
        parents = [await self._job(parent) for parent in job.after]
        return any([parent is not None and await self._is_accident(parent) for parent in parents])

    async def _submit(self, offer: Offer) -> None:
        """Make a job of a request; what is remembered of it is in the same transaction."""
        kind = self._broker.kinds.get(offer.kind)
        keep = self._keep + _MARGIN
        expires = self._expires()
        records = [Record(_REQUESTS, offer.asker.identity, _known_text(_JOB, offer), expires)]
        if offer.shared:
            records.append(Record(_SHARED, _shared_key(offer), _known_text(_JOB, offer), expires))
        await self._broker.intake.submit(
            Submit(
                kind=offer.kind,
                payload=offer.payload,
                tenant=tenant_of(offer.asker.client),
                overrides=Overrides(keep=keep) if kind is not None and kind.policy.keep < keep else None,
                notify=(Subscriber(CHANNEL, offer.asker.text),),
                records=(*records, *hops.keep(offer.hops, expires)),
            )
        )

    async def _join(self, offer: Offer, known: Known, step: Step) -> None:
        """Owe the asker the answer of a job that is there, unless it is owed already.

        What is owed comes before what is remembered: a crash between the two sends it twice, not never.
        """
        elsewhere = known.address != _address(offer.asker)
        if elsewhere or step is Step.REPEAT:
            await self._broker.outbox.demand(known.job, CHANNEL, offer.asker.text)
        text = _known_text(b"%d" % known.job, offer)
        if elsewhere:
            await self._broker.records.put([Record(_REQUESTS, offer.asker.identity, text, self._expires())])

    def _expires(self) -> float:
        return self._broker.clock.wall() + self._keep + _LONGEST

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncGenerator[None]:
        """Let others with the same key wait."""
        others = self._turns.get(key)
        if others is None:
            others = self._turns[key] = deque()
        else:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            others.append(mine)
            try:
                await mine
            except asyncio.CancelledError:
                if not mine.cancelled():  # it had become its turn
                    self._pass_turn(key)
                raise
        try:
            yield
        finally:
            self._pass_turn(key)

    def _pass_turn(self, key: str) -> None:
        others = self._turns[key]
        while others:
            following = others.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._turns[key]


async def current(records: Records, asker: Asker) -> int | None:
    """Return the job that answers a request now, None if that is not known any more."""
    known = await read_known(records, _REQUESTS, asker.identity)
    return None if known is None else known.job


async def read_known(records: Records, space: str, key: str) -> Known | None:
    """Return what is remembered under a key."""
    record = await records.get(space, key)
    if record is None:
        return None
    job, content, address = record.value.decode().split(" ")
    return Known(int(job), content, address)


def tenant_of(client: str) -> str:
    """Return the tenant that a client's jobs belong to."""
    return f"jsonbus:{client if len(client) <= _TENANT else digest(client)}"


def _shared_key(offer: Offer) -> str:
    return digest(_SHARED, offer.content)


def _address(asker: Asker) -> str:
    return digest(asker.text)[:16]


def _known_text(job: bytes, offer: Offer) -> bytes:
    return b"%b %b %b" % (job, offer.content.encode(), _address(offer.asker).encode())
