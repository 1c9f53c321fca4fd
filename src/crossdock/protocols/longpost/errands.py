"""Carrying out the effects of the session: tokens and cargo in the broker's records, jobs through its intake."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.core.lookup import find_job
from crossdock.core.ports import Artifacts, Clock, Intake, Records
from crossdock.core.requests import Record, Submit
from crossdock.protocols.longpost.messages import MAX_TOKEN, Failure, Reply, Token
from crossdock.protocols.longpost.misses import Misses
from crossdock.protocols.longpost.options import LongpostOptions
from crossdock.protocols.longpost.parts import Cutter, ascii_text
from crossdock.protocols.longpost.session import (
    Admit,
    Cancel,
    Crate,
    Effect,
    Exchange,
    Find,
    Keep,
    Look,
    Miss,
    Open,
    Opened,
    Pack,
    Sight,
    Take,
    Unload,
)

TASKS: Final = "longpost.task"
"""Records ``KIND/TOKEN`` whose value is the id of the job."""

CARGO: Final = "longpost.cargo"
"""Records ``KIND/TOKEN`` whose value is a :class:`Crate`."""

TASK_TTL: Final = 30 * 86400.0
"""Seconds a token lives without being asked for; asking for it late in that time starts it anew."""

_CARGO_BYTES: Final = 16

_encode: Final = msgspec.json.Encoder().encode
_crates: Final = msgspec.json.Decoder(Crate)


class Ports(Struct, frozen=True):
    """The parts of a broker that the frontend uses."""

    intake: Intake
    records: Records
    artifacts: Artifacts
    clock: Clock


class Visit(Struct, frozen=True):
    """Who asks for what: a kind, the tenant of the caller, its address, and whether it showed an API key."""

    kind: str
    tenant: str
    address: str
    known: bool


def draw_token() -> int:
    """Return a random task token."""
    return secrets.randbelow(MAX_TOKEN) + 1


Deed = Callable[[Any, Visit], Awaitable[object]]


class Errands:
    """Carries out what sessions want.

    Args:
        ports: the broker.
        options: chunk size and times.
        draw: where task tokens come from; one that is taken is drawn again.
    """

    def __init__(self, ports: Ports, options: LongpostOptions, draw: Callable[[], int] = draw_token) -> None:
        self._ports = ports
        self._options = options
        self._draw = draw
        self._misses = Misses(options.misses_per_minute, options.breaker)
        self._deeds: dict[type[Effect], Deed] = {
            Open: self._open,
            Keep: self._keep,
            Admit: self._admit,
            Look: self._look,
            Pack: self._pack,
            Take: self._take,
            Cancel: self._cancel,
            Find: self._find,
            Unload: self._unload,
            Miss: self._miss,
        }

    async def run(self, exchange: Exchange, visit: Visit) -> Reply | Failure:
        """Lead an exchange to its end."""
        fact: object = None
        while True:
            try:
                effect = exchange.send(fact)
            except StopIteration as stop:
                return stop.value
            fact = await self._deeds[type(effect)](effect, visit)

    async def _open(self, effect: Open, visit: Visit) -> Opened:
        ports = self._ports
        submit = Submit(kind=visit.kind, payload=effect.payload, tenant=visit.tenant)
        job = (await ports.intake.submit(submit)).job
        if self._options.grace > 0:
            job = await ports.intake.wait(job.id, self._options.grace)
        return Opened(str(self._draw()), Sight(job, ports.clock.wall()))

    async def _keep(self, effect: Keep, visit: Visit) -> str:
        records, task = self._ports.records, effect.task
        while await records.get(TASKS, f"{visit.kind}/{task}") is not None:
            task = str(self._draw())
        expires = self._ports.clock.wall() + TASK_TTL
        await records.put([Record(TASKS, f"{visit.kind}/{task}", b"%d" % effect.job, expires)])
        return task

    async def _admit(self, _: Admit, visit: Visit) -> int | None:
        return self._misses.pause(visit.address, self._ports.clock.monotonic(), known=visit.known)

    async def _miss(self, _: Miss, visit: Visit) -> None:
        self._misses.miss(visit.address, self._ports.clock.monotonic())

    async def _look(self, effect: Look, visit: Visit) -> Sight:
        ports = self._ports
        now = ports.clock.wall()
        record = await ports.records.get(TASKS, f"{visit.kind}/{effect.task}")
        if record is None:
            return Sight(None, now)
        job = await find_job(ports.intake, int(record.value))
        if job is None:
            return Sight(None, now)
        # Only while the job runs: nobody can have taken the result, so this cannot bring back a token that was spent.
        if not job.terminal and record.expires is not None and record.expires - now < TASK_TTL / 2:
            await ports.records.put([msgspec.structs.replace(record, expires=now + TASK_TTL)])
        return Sight(job, now)

    async def _take(self, effect: Take, visit: Visit) -> bool:
        return await self._ports.records.take(TASKS, f"{visit.kind}/{effect.task}") is not None

    async def _cancel(self, effect: Cancel, visit: Visit) -> None:
        # Side by side, so that both are in one commit.
        await asyncio.gather(self._take(Take(effect.task), visit), _cancel_job(self._ports.intake, effect.job))

    async def _pack(self, effect: Pack, visit: Visit) -> str | tuple[Token, ...]:
        result = b"null" if effect.job.result is None else effect.job.result
        cutter = Cutter(self._options.chunk)
        if isinstance(result, bytes):
            cutter.feed(result)
            crates = [Crate(visit.tenant, result[start:end]) for start, end in cutter.ranges()]
        else:
            async for block in self._ports.artifacts.read(result):
                cutter.feed(block)
            crates = [Crate(visit.tenant, result, start, end) for start, end in cutter.ranges()]
        if len(crates) == 1:
            return await self._text(crates[0])
        return await self._load_up(crates, visit)

    async def _load_up(self, crates: list[Crate], visit: Visit) -> tuple[Token, ...]:
        expires = self._ports.clock.wall() + self._options.cargo_ttl
        names = [secrets.token_hex(_CARGO_BYTES) for _ in crates]
        records = [
            Record(CARGO, f"{visit.kind}/{name}", _encode(crate), expires) for name, crate in zip(names, crates, strict=True)
        ]
        await self._ports.records.put(records)
        return tuple(Token.of(name) for name in names)

    async def _find(self, effect: Find, visit: Visit) -> Crate | None:
        record = await self._ports.records.get(CARGO, f"{visit.kind}/{effect.cargo}")
        return None if record is None else _crates.decode(record.value)

    async def _unload(self, effect: Unload, visit: Visit) -> str | None:
        text = await self._text(effect.crate)
        taken = await self._ports.records.take(CARGO, f"{visit.kind}/{effect.cargo}")
        return None if taken is None else text

    async def _text(self, crate: Crate) -> str:
        document = crate.document
        if isinstance(document, ArtifactRef):
            blocks = [block async for block in self._ports.artifacts.read(document, crate.start, crate.end)]
            return ascii_text(b"".join(blocks))
        return ascii_text(document)


async def _cancel_job(intake: Intake, job: int) -> None:
    with contextlib.suppress(CrossdockError):  # it has ended, or is gone: then there is nothing to cancel
        await intake.cancel(job)
