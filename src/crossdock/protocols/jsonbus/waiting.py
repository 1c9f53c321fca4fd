"""Answers to what was sent out: given to whoever waits for them, kept if nobody does, told apart from those nobody wants.

A delivery is accepted only once the broker of jobs has taken note of what follows from it, or it is in a record, or it
changes nothing. Until then RabbitMQ has it, and delivers it again if this process ends.
"""

import asyncio
from collections import deque
from contextlib import suppress
from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from crossdock.core.counters import Counters
from crossdock.core.documents import shelve
from crossdock.core.ports import Artifacts, Attempt, Clock
from crossdock.protocols.jsonbus.bus import Delivery
from crossdock.protocols.jsonbus.sent_records import Answer, Sent, SentRecords

_BEAT: Final = 0.2
"""Seconds after which those who wait learn that they need not any more."""
_PAUSE: Final = 0.5
"""Seconds until it is tried again to keep what could not be kept."""


class Arrival(Struct, frozen=True):
    """An answer, and the delivery that brought it if that is still to be settled."""

    answer: Answer
    delivery: Delivery | None = None


class Stop(Enum):
    """Why somebody waits no longer who got no answer."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Awaited:
    """Something that an attempt waits for.

    ``ended`` becomes what came of it. ``sent`` says that the attempt with this number is on its way, or may be; ``settled``
    that the answer is taken care of. ``deadline`` is in monotonic seconds.
    """

    def __init__(self, name: str, number: int, attempt: Attempt) -> None:
        self.name: Final = name
        self.number: Final = number
        self.attempt: Final = attempt
        self.sent = False
        self.settled = False
        self.deadline = float("inf")
        self.ended: Final[asyncio.Future[Arrival | Stop]] = asyncio.get_running_loop().create_future()


class _Stray(Struct, frozen=True):
    """An answer that nobody waited for when it came."""

    name: str
    number: int | None
    arrival: Arrival


class Waiting:
    """What was sent out, and who waits for it.

    Args:
        sent: the records of what was sent.
        artifacts: where large answers rest that nobody waits for.
        clock: the time.
        counters: where answers are counted that change nothing.
        exact: whether an answer is about one numbered attempt; else about whatever was sent under its name.
    """

    def __init__(self, sent: SentRecords, artifacts: Artifacts, clock: Clock, counters: Counters, *, exact: bool) -> None:
        self.sent: Final = sent
        self._artifacts = artifacts
        self._clock = clock
        self._counters = counters
        self._exact = exact
        self._awaited: dict[str, Awaited] = {}
        self._strays: deque[_Stray] = deque()
        self._work = asyncio.Event()

    # Those who wait

    def expect(self, name: str, number: int, attempt: Attempt, limit: float | None) -> Awaited:
        """Begin to wait for the answer to an attempt, at most ``limit`` seconds; :meth:`leave` has to end it."""
        awaited = Awaited(name, number, attempt)
        self.limit(awaited, limit)
        self._awaited[name] = awaited
        if len(self._awaited) == 1:
            self._work.set()
        return awaited

    def limit(self, awaited: Awaited, seconds: float | None) -> None:
        """Wait at most this long from now on, if not less long already."""
        if seconds is not None:
            awaited.deadline = min(awaited.deadline, self._clock.monotonic() + seconds)

    def waits(self, name: str) -> bool:
        """Tell whether somebody waits for an answer under this name."""
        return name in self._awaited

    def settle(self, awaited: Awaited, arrival: Arrival) -> None:
        """Accept an answer, and forget what was sent, once the broker of jobs has taken note of what follows from it."""
        delivery = arrival.delivery
        awaited.settled = True

        def reported(taken: bool) -> None:
            if taken and self._awaited.get(awaited.name, awaited) is awaited:  # else another attempt has begun
                self.sent.forget(awaited.name)
            if delivery is not None and taken:
                delivery.accept()
            elif delivery is not None:
                delivery.reject(requeue=True)

        awaited.attempt.when_reported(reported)

    def leave(self, awaited: Awaited) -> None:
        """Wait no longer. An answer that came and was not settled goes back."""
        if self._awaited.get(awaited.name) is awaited:
            del self._awaited[awaited.name]
        if awaited.settled or not awaited.ended.done() or awaited.ended.cancelled():
            return
        ended = awaited.ended.result()
        if isinstance(ended, Arrival) and ended.delivery is not None:
            ended.delivery.reject(requeue=True)

    # What comes back

    def receive(self, name: str, number: int | None, answer: Answer, delivery: Delivery) -> None:
        """Take an answer; ``number`` is that of the attempt it is about, None if it does not say."""
        arrival = Arrival(answer, delivery)
        if not self._give(name, number, arrival):
            self._strays.append(_Stray(name, number, arrival))
            self._work.set()

    def _give(self, name: str, number: int | None, arrival: Arrival) -> bool:
        """Give an answer to whoever waits for it; tell whether somebody does."""
        awaited = self._awaited.get(name)
        if awaited is None or awaited.ended.cancelled():
            return False
        if awaited.ended.done():
            self._ignore("answers that came twice", arrival)
        elif self._exact and not _counts(awaited, number, arrival.answer):
            self._ignore("answers to attempts that were over", arrival)
        else:
            awaited.ended.set_result(arrival)
        return True

    def _ignore(self, why: str, arrival: Arrival) -> None:
        self._counters.count(why)
        if arrival.delivery is not None:
            arrival.delivery.accept()

    # What goes on beside

    async def run(self) -> None:
        """Look after those who wait, and keep what nobody waits for, until this is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEAT if self._awaited else None):
                    await self._work.wait()
            self._work.clear()
            self.look()
            try:
                await self.keep_strays()
            except Exception as error:  # noqa: BLE001 - the disk is full, as a rule; whoever waits must not wait for ever
                self._counters.complain("answers that cannot be kept yet", str(error))
                await asyncio.sleep(_PAUSE)
                self._work.set()

    def look(self) -> None:
        """End the waiting of those who were asked to stop, and of those whose time is over."""
        now = self._clock.monotonic()
        for awaited in self._awaited.values():
            if awaited.ended.done():
                continue
            if awaited.attempt.cancelled:
                awaited.ended.set_result(Stop.CANCELLED)
            elif awaited.deadline <= now:
                awaited.ended.set_result(Stop.TIMED_OUT)

    async def keep_strays(self) -> None:
        """Keep answers that nobody waits for with the records of what they answer; all others are of no use.

        Raises:
            CrossdockError: they cannot be written; they are tried again the next time.
        """
        kept: dict[str, tuple[_Stray, Sent]] = {}
        try:
            while self._strays:
                stray = self._strays[0]
                sent = None if stray.name in kept else await self._answered(stray)
                self._strays.popleft()
                if self._give(stray.name, stray.number, stray.arrival):
                    continue
                if sent is None:
                    self._ignore("answers that nobody waits for", stray.arrival)
                else:
                    kept[stray.name] = stray, sent
            await self.sent.keep({name: sent for name, (_, sent) in kept.items()})
        except BaseException:
            self._strays.extendleft(stray for stray, _ in kept.values())
            raise
        for stray, sent in kept.values():
            self._accept_kept(stray, sent)

    def _accept_kept(self, stray: _Stray, sent: Sent) -> None:
        if stray.arrival.delivery is not None:
            stray.arrival.delivery.accept()
        if sent.answer is not None:  # somebody may have looked for it a moment too early
            self._give(stray.name, stray.number, Arrival(sent.answer))

    async def _answered(self, stray: _Stray) -> Sent | None:
        """Return what a stray answers, with the answer in it; None if that is unknown, over, or has an answer already."""
        sent = await self.sent.find(stray.name)
        if sent is None or sent.answer is not None or (self._exact and stray.number not in (None, sent.number)):
            return None
        answer = stray.arrival.answer
        if answer.data is not None:
            answer = replace(answer, data=await shelve(self._artifacts, answer.data))
        return replace(sent, answer=answer)


def _counts(awaited: Awaited, number: int | None, answer: Answer) -> bool:
    """Tell whether an answer is one to what somebody waits for.

    One that does not say which attempt it is about is to the newest that was sent. The failure of an earlier attempt has
    been counted as the time it took; its success is welcome as long as nobody was sent another one.
    """
    return number in (None, awaited.number) if awaited.sent else answer.good
