"""Channels: what is told of one job, to everybody who listens. Each is fed by one reader of the job's log."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Job
from crossdock.core.ports import Intake
from crossdock.protocols.recodex.messages import FAILED, FINISHED
from crossdock.protocols.recodex.monitor.history import History
from crossdock.protocols.recodex.monitor.messages import Translation, message

Resolve = Callable[[str], Awaitable[int | None]]
"""Returns the id of the job that a channel tells of, None if there is none (yet)."""

Late = tuple[float, tuple[str, ...]]
"""Progress that is in no log: when it came (seconds since 1970), and its words."""

_log: Final[Any] = structlog.get_logger("crossdock.recodex.monitor")
_PAGE: Final = 500
_WAIT: Final = 30.0
_ASK_AGAIN: Final = (0.25, 5.0)
"""Seconds between two looks for a job that is not known: at first, and in the end."""
_TROUBLE: Final = 1.0


class Listener(Protocol):
    """Somebody who listens to a channel. ``position`` counts the messages that were passed to it."""

    position: int

    def offer(self, data: bytes) -> bool:
        """Take WebSocket frames, or refuse them for now."""
        ...

    def end(self) -> None:
        """Learn that nothing follows."""
        ...

    def drop(self) -> None:
        """Be sent away."""
        ...


class Channel:
    """Reads one job's log while somebody listens.

    Args:
        name: the job's id as the browser knows it.
        intake: where the log is.
        resolve: finds the job.
        grace: seconds after the end for which a worker may still say its own ``FINISHED``.
        late: what was kept of progress that is in no log.
        lag: told of listeners that did not take everything.
    """

    def __init__(
        self,
        name: str,
        intake: Intake,
        resolve: Resolve,
        grace: float,
        late: list[Late],
        lag: Callable[["Channel", Listener], None],
    ) -> None:
        self.name = name
        self.over = False
        self.listeners: set[Listener] = set()
        self._intake = intake
        self._resolve = resolve
        self._grace = grace
        self._lag = lag
        self._late = late
        self._news = asyncio.Event()
        self._history = History()
        self._offset = 0
        self._translation = Translation()

    # Listeners

    def join(self, listener: Listener) -> None:
        """Tell a listener everything from the beginning."""
        self.listeners.add(listener)
        if not self.advance(listener):
            self._lag(self, listener)

    def advance(self, listener: Listener, most: int = 64 * 1024) -> bool:
        """Offer a listener the next bytes it lacks, about ``most``; tell whether it has everything now."""
        data, position = self._history.read(listener.position, most)
        if data and not listener.offer(data):
            return False
        listener.position = position
        return position == len(self._history)

    def late(self, told: Late) -> None:
        """Pass on progress that is in no log."""
        self._late.append(told)
        self._news.set()

    def _publish(self, texts: list[str]) -> None:
        if not texts:
            return
        start = len(self._history)
        data = self._history.add(texts)
        for listener in list(self.listeners):
            if listener.position == start and listener.offer(data):
                listener.position = len(self._history)
            else:
                self._lag(self, listener)

    def _end(self) -> None:
        self.over = True
        for listener in list(self.listeners):
            if listener.position == len(self._history):
                listener.end()
            else:
                self._lag(self, listener)

    # The log

    async def run(self) -> None:
        """Follow the job until everything is told. Should that fail, listeners are sent away: none waits for ever."""
        while not self.over:
            try:
                await self._follow()
            except CrossdockError as error:
                _log.warning("channel interrupted", channel=self.name, reason=error.message)
                await asyncio.sleep(_TROUBLE)
            except Exception:  # noqa: BLE001 - whatever it is, it would come again
                _log.exception("channel failed", channel=self.name)
                self.over = True
                for listener in list(self.listeners):
                    listener.drop()

    async def _follow(self) -> None:
        job = await self._find()
        if job is None:
            return
        while True:
            await self._read_log(job)
            self._read_late(job)
            if job.terminal or self._translation.finished:
                break
            job = await self._change(job)
        if job.terminal:
            await self._await_finished(job)
        self._publish([message(word) for word in self._translation.rest(job.state)])
        self._end()

    async def _find(self) -> Job | None:
        """Return the job once it is there. Until then progress of it is passed on as it comes; None if that ended it."""
        pause, longest = _ASK_AGAIN
        failed: float | None = None
        while True:
            known = await self._resolve(self.name)
            if known is not None:
                with suppress(CrossdockError):  # it may have had its time
                    return await self._intake.job(known)
            for at, told in self._taken():
                self._publish([message(*told)])
                if told[0] == FINISHED:
                    return self._end()
                failed = at if told[0] == FAILED else None
            # A rejected job has nobody who would say more.
            if failed is not None and time.time() >= failed + self._grace:
                self._publish([message(FINISHED)])
                return self._end()
            await self._told(pause if failed is None else min(pause, self._grace))
            pause = min(2 * pause, longest)

    async def _read_log(self, job: Job) -> None:
        while self._offset < job.events:
            entries = await self._intake.entries(job.id, self._offset, _PAGE)
            if not entries:
                return
            self._offset = entries[-1].offset + 1
            self._publish([text for entry in entries for text in self._translation.read(entry)])

    def _read_late(self, job: Job) -> None:
        for at, told in self._taken():
            if at >= job.created:  # an id may be used again: what an earlier job said is not about this one
                self._publish(self._translation.late(told))

    async def _change(self, job: Job) -> Job:
        """Return the job when its log has grown or something came that is in no log. Earlier notes are on disk then."""
        changed = asyncio.ensure_future(self._intake.changed(job.id, self._offset, _WAIT))
        told = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((changed, told), return_when=asyncio.FIRST_COMPLETED)
            return changed.result() if changed.done() else await self._intake.changed(job.id, self._offset, 0)
        finally:
            changed.cancel()
            told.cancel()
            await asyncio.gather(changed, told, return_exceptions=True)

    async def _await_finished(self, job: Job) -> None:
        """Give a worker that tells its steps a moment: the end of a job often overtakes the last of them."""
        self._translation.ended()
        ends = (job.finished or 0.0) + self._grace
        while self._translation.talks and not self._translation.finished and (left := ends - time.time()) > 0:
            await self._told(min(left, self._grace))
            self._read_late(job)
            self._translation.ended()

    async def _told(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _taken(self) -> list[Late]:
        self._news.clear()
        late, self._late = self._late, []
        return late
