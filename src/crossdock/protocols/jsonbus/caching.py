"""Requests that are known: one job for each, however often and however simultaneously a request comes.

Under client id and request id a record names the job and what was asked, written in the transaction that submits the job.
Requests that may share an answer have a second record under their content. Nothing is remembered outside of the disk but who
is being served this moment: two deliveries of one request take turns.

A record counts as long as its job runs, and for the cache period after its end. The jobs of one client are those of a tenant
``jsonbus:CLIENT``, so that clients get fair shares and none can pass for a tenant of another protocol.
"""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Final

from crossdock.core.broker import Broker
from crossdock.core.jobs import Job, Subscriber
from crossdock.core.lookup import find_job
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
_USUAL: Final = "-"


class Placed(StrEnum):
    """What became of a request."""

    NEW = "new"
    """It has a job of its own."""
    AGAIN = "again"
    """Its answer is sent once more."""
    WAITING = "waiting"
    """It came before its answer, which goes on its way once."""
    SHARED = "shared"
    """It gets the answer to another one."""
    TRIED_AGAIN = "tried again"
    """Its last job failed by accident, and it has a new one."""
    CONFLICT = "conflict"
    """Its id was used for another one; nothing became of it."""


class Cache:
    """Places requests.

    Args:
        broker: takes the jobs.
        keep: seconds that an answer counts after the end of its job.
    """

    def __init__(self, broker: Broker, keep: float) -> None:
        self._broker = broker
        self._keep = keep
        self._turns = Turns()

    async def place(self, offer: Offer) -> Placed:
        """Make a job of a request, or owe its asker the answer of a job that is there; all on disk on return.

        Raises:
            CrossdockError: as for ``Intake.submit``. After ``unavailable`` it can be called again.
        """
        key = offer.asker.identity
        async with self._turns.of(key):
            known, step = await self._look(_REQUESTS, key, offer)
            if known is None and offer.shared:
                return await self._place_shared(key, offer)
            if known is None or step is Step.RUN:
                await self._submit(key, offer)
                return Placed.NEW if known is None else Placed.TRIED_AGAIN
            if step is Step.CONFLICT:
                return Placed.CONFLICT
            elsewhere = known.address != _address(offer.asker)
            if elsewhere or step is Step.REPEAT:
                await self._join(key, offer, known.job, remember=elsewhere)
            return Placed.AGAIN if step is Step.REPEAT else Placed.WAITING

    async def _place_shared(self, key: str, offer: Offer) -> Placed:
        shared = _shared_key(offer)
        async with self._turns.of(shared):
            known, step = await self._look(_SHARED, shared, offer)
            if known is None or step is Step.RUN:
                await self._submit(key, offer)
                return Placed.NEW
            await self._join(key, offer, known.job, remember=True)
            return Placed.SHARED

    async def _look(self, space: str, key: str, offer: Offer) -> tuple[Known | None, Step]:
        """Return what is known under a key, if it still counts, and what to do about it."""
        known = await read_known(self._broker.records, space, key)
        job = None if known is None else await find_job(self._broker.intake, known.job)
        if known is None or job is None or self._is_over(job):
            return None, Step.RUN
        return known, decide(known, job, offer, accident=await self._is_accident(job))

    def _is_over(self, job: Job) -> bool:
        return job.finished is not None and job.finished + self._keep <= self._broker.clock.wall()

    async def _is_accident(self, job: Job) -> bool:
        """Tell whether a job failed by accident; one that failed as others did, whether one of those did."""
        accident = is_accident(job)
        if accident is not None:
            return accident
        parents = [await find_job(self._broker.intake, parent) for parent in job.after]
        return any([parent is not None and await self._is_accident(parent) for parent in parents])

    async def _submit(self, key: str, offer: Offer) -> None:
        """Make a job of a request; what is remembered of it is in the same transaction."""
        kind = self._broker.kinds.get(offer.kind)
        keep = self._keep + _MARGIN
        expires = self._expires()
        text = _known_text(_JOB, offer)
        records = [Record(_REQUESTS, key, text, expires)]
        if offer.shared:
            records.append(Record(_SHARED, _shared_key(offer), text, expires))
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

    async def _join(self, key: str, offer: Offer, job: int, *, remember: bool) -> None:
        """Owe the asker the answer of a job that is there.

        What is owed comes before what is remembered: a crash between the two sends it twice, not never.
        """
        await self._broker.outbox.demand(job, CHANNEL, offer.asker.text)
        if remember:
            text = _known_text(b"%d" % job, offer)
            await self._broker.records.put([Record(_REQUESTS, key, text, self._expires())])

    def _expires(self) -> float:
        return self._broker.clock.wall() + self._keep + _LONGEST


class Turns:
    """Lets one at a time go on under each key, in the order they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def of(self, key: str) -> "Turn":
        """Return the turn of somebody under a key."""
        return Turn(self._waiting, key)


class Turn:
    """Somebody's turn, as an asynchronous context; a generator for it would cost more than all the rest."""

    def __init__(self, waiting: dict[str, deque[asyncio.Future[None]]], key: str) -> None:
        self._waiting = waiting
        self._key = key

    async def __aenter__(self) -> None:
        others = self._waiting.get(self._key)
        if others is None:
            self._waiting[self._key] = deque()
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        others.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it had become its turn
                self._pass()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass()

    def _pass(self) -> None:
        others = self._waiting[self._key]
        while others:
            following = others.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._waiting[self._key]


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
    """Return what tells the queues apart that one client wants its answer in."""
    return digest(asker.reply) if asker.reply else _USUAL


def _known_text(job: bytes, offer: Offer) -> bytes:
    return b"%b %b %b" % (job, offer.content.encode(), _address(offer.asker).encode())
