"""From a client's ``eval`` to a job on the disk, or to the reason why not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.protocols.recodex.frontend_session import Offer
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.messages import EVALUATION, FAILED, Accept, Eval, Reject
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.protocols.recodex.translation import (
    JOBS,
    check_payload,
    digest,
    kind_of,
    no_worker,
    read_known,
    requirements,
    submit,
)

_FETCHES: Final = 16
"""Payloads that are fetched at once."""
_MOST_FETCHES: Final = 256
"""Payloads that are fetched or wait for it."""
_FAILED: Final = (FAILED.encode(),)
_BROKEN: Final = Reject("The broker failed; its log says how.")
_ACCEPTED: Final = Accept()

Verdict = Accept | Reject
_Key = tuple[str, str]
"""A job id as a client knows it, and a digest of the frames it came in."""

_log: Final[Any] = structlog.get_logger("crossdock.recodex")


class Submissions:
    """Makes jobs.

    Args:
        options: the rules.
        broker: takes the jobs.
        hooks: who watches, and who fetches payloads.
        settle: is told the verdict on each offer, by its ticket.
    """

    def __init__(
        self, options: RecodexOptions, broker: Broker, hooks: Hooks, settle: Callable[[int, Verdict], None]
    ) -> None:
        self._options = options
        self._broker = broker
        self._hooks = hooks
        self._settle = settle
        self._fetches = asyncio.Semaphore(_FETCHES)
        self._fetching = 0
        self._underway: dict[_Key, list[int]] = {}
        """The tickets of all who wait for a job that is being written."""

    async def take(self, offers: Sequence[Offer]) -> None:
        """Make jobs of messages, or find the unfinished ones that the same frames made before.

        All are on their way to the disk before any of them is waited for.
        """
        begun: list[tuple[_Key, Verdict | Awaitable[None]]] = []
        for offer in offers:
            key = offer.message.job, digest(offer.message)
            tickets = self._underway.setdefault(key, [])
            tickets.append(offer.ticket)
            if len(tickets) == 1:
                begun.append((key, await self._enter(offer.message, key[1])))
        for key, entered in begun:
            verdict = entered if isinstance(entered, Verdict) else await _written(key[0], entered)
            for ticket in self._underway.pop(key):
                self._settle(ticket, verdict)

    async def _enter(self, message: Eval, frames: str) -> Verdict | Awaitable[None]:
        """Make a job of a message; return the verdict, or what to wait for until that can be given."""
        try:
            if await self._is_there(message.job, frames):
                return _ACCEPTED
            return await self._make(message, frames)
        except Exception as error:  # noqa: BLE001 - the client must have an answer, and the next message its turn
            return _refusal(message.job, error)

    async def _is_there(self, job: str, frames: str) -> bool:
        record = await self._broker.records.get(JOBS, job)
        known = None if record is None else read_known(record.value)
        if known is None or known.frames != frames:
            return False
        try:
            return not (await self._broker.intake.job(known.job)).terminal
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:  # else it ended long ago
                raise
            return False

    async def _make(self, message: Eval, frames: str) -> Verdict | Awaitable[None]:
        kind = self._broker.kinds.get(kind_of(message))
        if kind is None:
            return Reject(f"There is no kind of job named {kind_of(message)[:80]!r}.")
        wanted = (*kind.requirements, *requirements(message.headers))
        if self._options.no_worker == "reject" and not self._broker.oversight.serves(kind.name, wanted):
            self._hooks.raw(message.job, _FAILED)
            self._hooks.feed(message.job, _FAILED)
            return Reject(no_worker(message.headers))
        payload = None if kind.name == EVALUATION else await self._fetch(message.archive)
        expires = self._broker.clock.wall() + self._options.remember
        request = submit(message, frames, payload, self._attempts(kind), expires, told=self._options.told)
        _, written = await self._broker.intake.submit_soon(request)
        return _ACCEPTED if written is None else written

    def _attempts(self, kind: Kind) -> int | None:
        """Return how often a job is tried in all, None if its kind says so: what ReCodEx has are evaluations."""
        most = self._options.max_request_failures
        return most if kind.name == EVALUATION and kind.policy.attempts != most else None

    async def _fetch(self, url: str) -> bytes:
        """Return the payload behind a URL. Slow servers of some clients must not fill the door for all."""
        if self._fetching >= _MOST_FETCHES:
            raise CrossdockError(Code.UNAVAILABLE, "Too many payloads are being fetched; try again later.")
        self._fetching += 1
        try:
            async with self._fetches:
                return check_payload(await self._hooks.fetch(url))
        finally:
            self._fetching -= 1


async def _written(job: str, entered: Awaitable[None]) -> Verdict:
    """Return the verdict on a job that is on its way to the disk."""
    try:
        await entered
    except Exception as error:  # noqa: BLE001 - as above
        return _refusal(job, error)
    return _ACCEPTED


def _refusal(job: str, error: Exception) -> Reject:
    if isinstance(error, CrossdockError):
        return Reject(error.message)
    _log.error("a job could not be taken", job=job, exc_info=error)
    return _BROKEN
