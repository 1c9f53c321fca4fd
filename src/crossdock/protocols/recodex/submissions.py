"""From a client's ``eval`` to a job on the disk, or to the reason why not."""

import asyncio
from typing import Final

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
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

Verdict = Accept | Reject


class Submissions:
    """Makes jobs.

    Args:
        options: the rules.
        broker: takes the jobs.
        hooks: who watches, and who fetches payloads.
    """

    def __init__(self, options: RecodexOptions, broker: Broker, hooks: Hooks) -> None:
        self._options = options
        self._broker = broker
        self._hooks = hooks
        self._fetches = asyncio.Semaphore(_FETCHES)
        self._fetching = 0
        self._underway: dict[tuple[str, str], list[asyncio.Future[Verdict]]] = {}
        """Who else waits for a job that is being written, by its id and what it came in."""

    async def verdict(self, message: Eval) -> Verdict:
        """Make a job of a message, or find the unfinished one that the same frames made before."""
        key = message.job, digest(message)
        others = self._underway.get(key)
        if others is not None:
            waiter: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
            others.append(waiter)
            return await waiter
        others = self._underway[key] = []
        verdict: Verdict = Reject("The broker failed; its log says how.")
        try:
            verdict = Accept() if await self._is_there(*key) else await self._make(message, key[1])
        except CrossdockError as error:
            verdict = Reject(error.message)
        finally:
            del self._underway[key]
            for waiter in others:
                if not waiter.done():
                    waiter.set_result(verdict)
        return verdict

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

    async def _make(self, message: Eval, frames: str) -> Verdict:
        kind = self._broker.kinds.get(kind_of(message))
        if kind is None:
            return Reject(f"There is no kind of job named {kind_of(message)[:80]!r}.")
        wanted = (*kind.requirements, *requirements(message.headers))
        if self._options.no_worker == "reject" and not self._broker.oversight.serves(kind.name, wanted):
            self._hooks.raw(message.job, _FAILED)
            self._hooks.feed(message.job, _FAILED)
            return Reject(no_worker(message.headers))
        payload = None if kind.name == EVALUATION else await self._fetch(message.archive)
        most = self._options.max_request_failures
        attempts = None if kind.policy.attempts == most else most
        expires = self._broker.clock.wall() + self._options.remember
        await self._broker.intake.submit(submit(message, frames, payload, attempts, expires))
        return Accept()

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
