"""Answers to requests: what the outbox owes to json-bus clients, published until a queue has it.

A notification is delivered when RabbitMQ has confirmed it. While the connection is away it waits. If the client has no queue
it is tried again after 1 s, 5 s, 30 s and then ever less often, up to the cache period; and at once when the request comes
again (:meth:`~crossdock.core.ports.Outbox.demand`). All repetitions have the same message id.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Document, Job
from crossdock.core.lifecycle import State
from crossdock.core.requests import Notification
from crossdock.protocols.jsonbus.asker import CHANNEL, Asker, read_asker
from crossdock.protocols.jsonbus.bus import Bus, Letter, Unroutable
from crossdock.protocols.jsonbus.caching import current
from crossdock.protocols.jsonbus.endings import ending_letter, unreadable_letter
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.patient_publisher import PatientPublisher
from crossdock.protocols.jsonbus.result_reference import Reference, write_reference

PLAN: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds between tries to deliver to a queue that is not there, the last one again and again."""

_CLAIM: Final = 256
_WAIT: Final = 30.0
_UNDER_WAY: Final = 1000
"""Answers that are published at once."""
_LARGE: Final = 16
"""Answers with results out of the artifacts that are in memory at once."""
_WATCHED: Final = 10_000
"""Unfinished jobs that are waited for at once on behalf of further askers."""
_LOOK: Final = 600.0
_LATER: Final = 30.0
"""Seconds until an answer that could not even be made is tried again."""

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")

Refer = Callable[[Job], str]
"""Makes a URL by which the result of a job can be fetched."""


class Answers:
    """Publishes notifications.

    Args:
        options: how much an answer carries, and how long it is kept.
        broker: owes them.
        bus: where they go.
        refer: makes URLs of results that are too large.
        counters: what goes wrong.
    """

    def __init__(
        self, options: NodeOptions, broker: Broker, bus: Bus, refer: Refer, counters: Counters | None = None
    ) -> None:
        self.counters = counters or Counters(broker.clock.monotonic, _log.warning)
        self._options = options
        self._broker = broker
        self._post = PatientPublisher(bus)
        self._refer = refer
        self._large = asyncio.Semaphore(_LARGE)
        self._busy = 0
        self._room = asyncio.Event()
        self._watched = 0

    async def run(self) -> None:
        """Publish until cancelled. What is under way then stays owed."""
        async with asyncio.TaskGroup() as group:
            while True:
                while self._busy >= _UNDER_WAY:
                    self._room.clear()
                    await self._room.wait()
                limit = min(_CLAIM, _UNDER_WAY - self._busy)
                for notification in await self._broker.outbox.claim(CHANNEL, limit, _WAIT):
                    self._enter()
                    group.create_task(self._deliver(notification))
                await asyncio.sleep(0)  # what has gathered during an outage may be very much

    def _enter(self) -> None:
        self._busy += 1

    def _leave(self) -> None:
        self._busy -= 1
        self._room.set()

    async def _deliver(self, notification: Notification) -> None:
        try:
            await self._attend(notification)
        except Exception:  # noqa: BLE001 - a fault over one answer must not be the end of all others
            _log.exception("an answer could not be made", job=notification.job)
            await self._broker.outbox.postpone(notification, _LATER)
        finally:
            self._leave()

    async def _attend(self, notification: Notification) -> None:
        """Publish what a notification is about, once that has ended."""
        try:
            asker = read_asker(notification.address)
            job = await self._broker.intake.job(notification.job)
        except (msgspec.DecodeError, CrossdockError) as error:
            if isinstance(error, CrossdockError) and error.code is not Code.NOT_FOUND:
                raise
            self.counters.complain("answers without a job", str(error))
            await self._broker.outbox.delivered(notification)
            return
        ended = job if job.terminal else await self._watch(notification)
        if ended is not None:
            await self._send(notification, ended, asker)

    async def _watch(self, notification: Notification) -> Job | None:
        """Return a job once it has ended; None if too many are watched, and this one is put off."""
        if self._watched >= _WATCHED:
            await self._broker.outbox.postpone(notification, _LATER)
            return None
        self._watched += 1
        self._leave()
        try:
            while True:
                job = await self._broker.intake.wait(notification.job, _LOOK)
                if job.terminal:
                    return job
        finally:
            self._enter()
            self._watched -= 1

    async def _send(self, notification: Notification, job: Job, asker: Asker) -> None:
        outbox = self._broker.outbox
        if notification.attempts and job.state is State.FAILED and await self._superseded(job, asker):
            await outbox.delivered(notification)
            return
        try:
            await self._publish(job, asker)
        except Unroutable:
            await self._put_off(notification, job)
            return
        await outbox.delivered(notification)

    async def _superseded(self, job: Job, asker: Asker) -> bool:
        """Tell whether a request was tried again after a failure, so that another answer will come."""
        return await current(self._broker.records, asker) not in (None, job.id)

    async def _publish(self, job: Job, asker: Asker) -> None:
        """Publish the end of a job: its result inside while it is small, else where it can be fetched."""
        result = job.result if job.state is State.SUCCEEDED else None
        if result is None or _size(result) > self._options.inline:
            await self._post.publish(self._by_reference(job, asker, result))
        elif isinstance(result, bytes):
            await self._publish_inline(job, asker, result)
        else:
            async with self._large:
                await self._publish_stored(job, asker, result)

    async def _publish_stored(self, job: Job, asker: Asker, result: ArtifactRef) -> None:
        try:
            text = await load(self._broker.artifacts, result)
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            await self._post.publish(unreadable_letter(job, asker, error.message))
        else:
            await self._publish_inline(job, asker, text)

    async def _publish_inline(self, job: Job, asker: Asker, text: bytes) -> None:
        """Publish a result inside a notification; one that PHP could not read or RabbitMQ not take has to be fetched."""
        try:
            await self._post.publish(ending_letter(job, asker, text))
        except CrossdockError as error:
            if error.code not in (Code.INVALID, Code.TOO_LARGE):
                raise
            self.counters.count("results that only fit a file")
            await self._post.publish(self._by_reference(job, asker, text))

    def _by_reference(self, job: Job, asker: Asker, result: Document | None) -> Letter:
        data = None if result is None else write_reference(Reference(self._refer(job), _size(result)))
        return ending_letter(job, asker, data)

    async def _put_off(self, notification: Notification, job: Job) -> None:
        """Try again later, unless the answer does not count any more by then."""
        pause = PLAN[min(notification.attempts, len(PLAN) - 1)]
        ends = (job.finished or notification.created) + self._options.keep
        if self._broker.clock.wall() + pause > ends:
            self.counters.complain("answers that nobody took", "their time is over", address=notification.address)
            await self._broker.outbox.delivered(notification)
            return
        self.counters.count("answers without a queue")
        await self._broker.outbox.postpone(notification, pause)


def _size(result: Document) -> int:
    return len(result) if isinstance(result, bytes) else result.size
