"""Sending something that somebody then waits for, until RabbitMQ has confirmed it."""

import asyncio
from typing import Final

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.requests import Note
from crossdock.protocols.jsonbus.bus import Bus, Letter, Unroutable
from crossdock.protocols.jsonbus.waiting import Awaited

NOBODY: Final = "unroutable"
"""The code of what had no queue to go to."""


class Patience(Struct, frozen=True, kw_only=True):
    """How it is tried again: pauses in seconds, each twice as long as the one before.

    ``nobody`` is how long a letter may have no queue to go to; None: as long as it takes.
    """

    first: float = 0.25
    longest: float = 5.0
    nobody: float | None = None


async def push(bus: Bus, letter: Letter, awaited: Awaited, patience: Patience, nobody: str) -> Outcome | None:
    """Publish a letter until it is confirmed, or until what it asks for has ended in another way.

    While the connection is away it may have arrived or not, so it is sent again, under the same id and number.

    Args:
        bus: where to.
        letter: what.
        awaited: what waits for its answer; ``sent`` tells later whether there may be one.
        patience: the pauses.
        nobody: what to say if no queue takes it.

    Returns:
        None, or how the attempt ends if the letter cannot be sent.
    """
    pause, waited, told = patience.first, 0.0, ""
    while not awaited.ended.done():
        awaited.sent, earlier = True, awaited.sent
        try:
            await bus.publish(letter)
        except Unroutable:
            awaited.sent, trouble = earlier, nobody
            if patience.nobody is not None and waited >= patience.nobody:
                return Outcome(kind=OutcomeKind.ERRORED, code=NOBODY, message=nobody)
            waited += pause
        except CrossdockError as error:
            if error.code is not Code.UNAVAILABLE:
                return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
            trouble = error.message
        else:
            return None
        if trouble != told:
            awaited.attempt.note(Note(log=f"{trouble}; it is tried again"))
            told = trouble
        await asyncio.wait((awaited.ended,), timeout=pause)
        pause = min(2 * pause, patience.longest)
    return None
