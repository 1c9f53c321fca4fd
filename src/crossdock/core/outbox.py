"""The outbox of notifications and the small records of protocols: two more doors of the broker."""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from msgspec.structs import replace

from crossdock.core.desk import Desk
from crossdock.core.policy import until
from crossdock.core.requests import DEMANDED, Notification, Record


class BrokerOutbox:
    """Implements :class:`~crossdock.core.ports.Outbox`. A notification that is being delivered is in nobody's queue.

    Queues are ordered by monotonic time, so that nobody waits longer when the clock is set back.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._owed: dict[int, tuple[float, Notification]] = {}
        self._queues: dict[str, list[tuple[float, int]]] = {}
        self._put_off: dict[tuple[int, str, str], int] = {}
        """Those that wait for another try, by what :meth:`demand` says of them."""

    def owe(self, notifications: Iterable[Notification]) -> None:
        """Queue notifications that are on disk."""
        now = self._desk.now()
        for notification in notifications:
            if notification.attempts:
                self._put_off[notification.job, notification.channel, notification.address] = notification.id
            self._queue(notification, now.mono + until(notification.due, notification.created, now.wall))

    def _queue(self, notification: Notification, due: float) -> None:
        self._owed[notification.id] = due, notification
        heappush(self._queues.setdefault(notification.channel, []), (due, notification.id))
        self._desk.signals.notify(_topic(notification.channel))

    async def claim(self, channel: str, limit: int, wait: float = 0.0) -> list[Notification]:
        """Return due notifications of a channel that nobody else is delivering, waiting at most ``wait`` seconds."""
        clock = self._desk.clock
        ends = clock.monotonic() + wait
        while True:
            queue = self._queues.setdefault(channel, [])
            due: list[Notification] = []
            while queue and len(due) < limit and queue[0][0] <= clock.monotonic():
                if (notification := self._take(*heappop(queue))) is not None:
                    due.append(notification)
            left = ends - clock.monotonic()
            if due or left <= 0:
                return due
            if queue:
                left = min(left, max(0.01, queue[0][0] - clock.monotonic()))
            await self._desk.signals.wait(_topic(channel), left)

    def _take(self, due: float, notification_id: int) -> Notification | None:
        """Return what an entry of a queue stands for, None if that is due at another time now."""
        queued, notification = self._owed.get(notification_id, (0.0, None))
        if notification is None or queued != due:
            return None
        del self._owed[notification_id]
        if notification.attempts:
            self._put_off.pop((notification.job, notification.channel, notification.address), None)
        return notification

    async def demand(self, job: int, channel: str, address: str) -> None:
        """Owe a notification about a job once more, or to one receiver more, whether the job has ended or not."""
        now = self._desk.now()
        waiting = self._put_off.get((job, channel, address))
        if waiting is not None:
            self._queue(self._owed[waiting][1], now.mono)
            return
        self._desk.journal.check()
        self._desk.scheduler.owe(job, channel, address, DEMANDED, now)
        await self._desk.journal.durable()

    async def delivered(self, notification: Notification) -> None:
        """Forget a notification: its receiver has it."""
        self._desk.scheduler.group.notifications.pop(notification.id, None)
        self._desk.scheduler.group.delivered.add(notification.id)
        self._desk.journal.kick()

    async def postpone(self, notification: Notification, seconds: float) -> None:
        """Try again later. It comes back when the new time is on disk."""
        later = replace(notification, due=self._desk.clock.wall() + seconds, attempts=notification.attempts + 1)
        self._desk.scheduler.group.notifications[later.id] = later
        self._desk.journal.kick()


class BrokerRecords:
    """Implements :class:`~crossdock.core.ports.Records`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def get(self, space: str, key: str) -> Record | None:
        """Return a record that has not expired."""
        name = (space, key)
        for changes in self._desk.journal.records():
            if name in changes:
                record = changes[name]
                break
        else:
            record = await self._desk.store.record(space, key)
        if record is None or (record.expires is not None and record.expires <= self._desk.clock.wall()):
            return None
        return record

    async def put(self, records: Sequence[Record]) -> None:
        """Write records; durable on return."""
        self._desk.journal.check()
        for record in records:
            self._desk.scheduler.group.records[record.space, record.key] = record
        await self._desk.journal.durable()

    async def take(self, space: str, key: str) -> Record | None:
        """Return a record and delete it, so that only one caller ever gets it; durable on return."""
        self._desk.journal.check()
        record = await self.get(space, key)
        if record is None or self._deleted((space, key)):
            return None
        self.forget(space, key)
        await self._desk.journal.durable()
        return record

    def remember(self, record: Record) -> None:
        """Write a record without waiting for it."""
        self._desk.scheduler.group.records[record.space, record.key] = record
        self._desk.journal.kick()

    def forget(self, space: str, key: str) -> None:
        """Delete a record that nobody else knows of; it is written with whatever is written next."""
        self._desk.scheduler.group.records[space, key] = None

    def _deleted(self, name: tuple[str, str]) -> bool:
        """Tell whether somebody else took a record while it was being read."""
        return any(name in changes and changes[name] is None for changes in self._desk.journal.records())


def _topic(channel: str) -> str:
    return f"outbox:{channel}"
