"""Which channels there are, who listens to them, and what is kept of progress that is in no log."""

import asyncio
import time
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import structlog
from msgspec import Struct

from crossdock.core.ports import Intake
from crossdock.protocols.recodex.monitor.channels import Channel, Late, Listener, Resolve
from crossdock.protocols.recodex.monitor.messages import words

_log: Final[Any] = structlog.get_logger("crossdock.recodex.monitor")
_TEND: Final = 0.02
"""Seconds between two offers to listeners that lag behind."""
_OFFERS: Final = 16
"""Offers that a listener may take one after the other before it is somebody else's turn."""
_NAME: Final = 1024
_TEXT: Final = 16 * 1024
_KEPT_EACH: Final = 1000
_KEPT: Final = 20_000


class _Lag(Struct, eq=False):
    """A listener that did not take everything: where it is, and since when (seconds of the loop)."""

    channel: Channel
    position: int
    since: float


class Hub:
    """Joins listeners to channels. A channel exists while somebody listens to it.

    Args:
        intake: where the logs of jobs are.
        resolve: finds the job of a channel.
        grace: seconds, see :class:`~crossdock.protocols.recodex.monitor.channels.Channel`.
        keep: seconds for which progress that is in no log is kept for listeners that come later.
        patience: seconds after which a listener is dropped that takes nothing.
    """

    def __init__(self, intake: Intake, resolve: Resolve, *, grace: float, keep: float, patience: float) -> None:
        self.dropped = 0
        self._intake = intake
        self._resolve = resolve
        self._grace = grace
        self._keep = keep
        self._patience = patience
        self._channels: dict[str, Channel] = {}
        self._tasks: dict[Channel, asyncio.Task[None]] = {}
        self._kept: OrderedDict[str, list[Late]] = OrderedDict()
        self._kept_count = 0
        self._lagging: dict[Listener, _Lag] = {}
        self._lag_seen = asyncio.Event()

    def join(self, name: str, listener: Listener) -> Channel:
        """Let somebody listen to a channel, from its beginning. Whatever the name is, it is not an error."""
        channel = self._channels.get(name)
        if channel is None or channel.over:
            self._expire()
            late = list(self._kept.get(name, ()))
            channel = Channel(name, self._intake, self._resolve, self._grace, late, self._lag)
            self._channels[name] = channel
            task = self._tasks[channel] = asyncio.create_task(channel.run(), name="monitor channel")
            task.add_done_callback(_check)
        channel.join(listener)
        return channel

    def leave(self, channel: Channel, listener: Listener) -> None:
        """Forget a listener; with its last one a channel goes too."""
        self._lagging.pop(listener, None)
        channel.listeners.discard(listener)
        if channel.listeners or channel not in self._tasks:
            return
        self._tasks.pop(channel).cancel()
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]

    def raw(self, name: str, frames: Sequence[bytes]) -> None:
        """Pass on progress that is not of a running job: of ids nobody knows, or later than the job's end.

        Those who listen get it, and those who come within the next minutes.

        Args:
            name: the job's id as browsers know it.
            frames: a command, and of ``TASK`` the task's id and state. Anything that cannot be told is ignored.
        """
        told = words(frames)
        if told is None or len(name) > _NAME or sum(map(len, told)) > _TEXT:
            return
        late = (time.time(), told)
        self._expire()
        kept = self._kept.setdefault(name, [])
        self._kept.move_to_end(name)
        kept.append(late)
        self._kept_count += 1
        if len(kept) > _KEPT_EACH:
            del kept[0]
            self._kept_count -= 1
        if (channel := self._channels.get(name)) is not None:
            channel.late(late)

    async def tend(self) -> None:
        """Bring listeners on that lag behind, and drop those that take nothing; until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._lag_seen.wait()
            for listener, lag in list(self._lagging.items()):
                complete = _advance(lag.channel, listener)
                if listener.position != lag.position:
                    lag.position, lag.since = listener.position, clock()
                if complete:
                    del self._lagging[listener]
                    if lag.channel.over:
                        listener.end()
                elif clock() - lag.since > self._patience:
                    del self._lagging[listener]
                    lag.channel.listeners.discard(listener)
                    self.dropped += 1
                    listener.drop()
            if not self._lagging:
                self._lag_seen.clear()
            await asyncio.sleep(_TEND)

    async def close(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _lag(self, channel: Channel, listener: Listener) -> None:
        if listener not in self._lagging:
            self._lagging[listener] = _Lag(channel, listener.position, asyncio.get_running_loop().time())
            self._lag_seen.set()

    def _expire(self) -> None:
        """Forget what was kept long enough, or is too much; the names that nothing came for the longest go first."""
        oldest = time.time() - self._keep
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if kept[-1][0] >= oldest and self._kept_count < _KEPT:
                return
            self._kept_count -= len(self._kept.pop(name))


def _advance(channel: Channel, listener: Listener) -> bool:
    """Offer a listener what it lacks as long as it takes it; tell whether it has everything now."""
    for _ in range(_OFFERS):
        position = listener.position
        if channel.advance(listener):
            return True
        if listener.position == position:
            break
    return False


def _check(task: asyncio.Task[None]) -> None:
    """Say what ended a channel that should not have ended."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("channel failed", trace="".join(traceback.format_exception(error)))
