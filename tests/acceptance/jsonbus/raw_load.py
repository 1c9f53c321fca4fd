"""A client under faults: it publishes with confirms, remembers the ids, and hears the answers. It sends nothing twice.

What it publishes is transient and has no properties but the queue of the answers, which is durable and outlives everybody.
What RabbitMQ has confirmed has to be answered. What it has not confirmed, because the connection broke, may be.
"""

import asyncio
import json
import random
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiormq
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError

from acceptance.jsonbus.php_peer import encode

PUBLISHERS = 6
PATIENCE = 90.0
AGAIN = 0.1
LOST = (AMQPError, OSError, RuntimeError, asyncio.CancelledError)
"""What the library raises when a connection breaks; a TimeoutError is an OSError."""


class Load:
    """Requests, and what came back for them.

    Args:
        url: of RabbitMQ.
        kinds: what is asked for, in turn.
        key: the routing key of the node's requests.
        pause: seconds between two requests of each of the publishers.
    """

    def __init__(self, url: str, kinds: Sequence[str], *, key: str = "requests", pause: float = 0.1) -> None:
        self.asked: dict[str, int] = {}
        self.confirmed: set[str] = set()
        self.answers: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
        self.returned = 0
        self._url = url
        self._kinds = kinds
        self._key = key
        self._pause = pause
        self._queue = f"answers.{uuid.uuid4().hex}"
        self._ends = asyncio.Event()
        self._news = asyncio.Condition()
        self._draw = random.Random(7)

    # What it does

    async def publish(self) -> None:
        """Ask until :meth:`stop`, over connections of its own that are made anew whenever one breaks."""
        await self._connected(self._publish)

    async def hear(self) -> None:
        """Take answers until cancelled."""
        await self._connected(self._hear)

    def stop(self) -> None:
        """Ask nothing more."""
        self._ends.set()

    async def _connected(self, use: Any) -> None:
        while not self._ends.is_set() or use == self._hear:
            try:
                connection = await aiormq.connect(self._url)
                try:
                    await use(connection)
                finally:
                    with suppress(*LOST):
                        await connection.close()
            except LOST:
                if _cancelled():
                    raise
            await asyncio.sleep(AGAIN)

    async def _publish(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(on_return_raises=True)
        async with asyncio.TaskGroup() as group:
            for _ in range(PUBLISHERS):
                group.create_task(self._ask_on(channel))

    async def _ask_on(self, channel: Any) -> None:
        while not self._ends.is_set():
            number = len(self.asked)
            name = f"r{number}-{uuid.uuid4().hex}"
            self.asked[name] = number
            params = {"n": number, "seconds": self._draw.choice((0, 0, 0.01, 0.05))}
            kind = self._kinds[number % len(self._kinds)]
            body = encode({"id": name, "clientId": "load", "subject": kind, "params": params, "type": "request"})
            properties = aiormq.spec.Basic.Properties(reply_to=self._queue, message_id=name)
            try:
                await channel.basic_publish(
                    body, exchange="jsonbus", routing_key=self._key, properties=properties, mandatory=True
                )
            except aiormq.exceptions.PublishError:
                self.returned += 1
            except LOST:
                if _cancelled():
                    raise
                return
            else:
                self.confirmed.add(name)
            await asyncio.sleep(self._pause)

    async def _hear(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        await channel.basic_qos(prefetch_count=100)
        await channel.queue_declare(self._queue, durable=True)

        async def receive(message: DeliveredMessage) -> None:
            self.answers[json.loads(message.body)["requestId"]][message.body] += 1
            async with self._news:
                self._news.notify_all()
            await channel.basic_ack(message.delivery_tag or 0)

        await channel.basic_consume(self._queue, receive)
        await asyncio.wait([connection.closing])

    # What is to be said of it

    @property
    def open(self) -> set[str]:
        """What is confirmed and has no answer."""
        return self.confirmed - self.answers.keys()

    async def answered(self, seconds: float = PATIENCE) -> None:
        """Wait until everything has an answer that has to have one, at most so many seconds."""
        with suppress(TimeoutError):
            await self._until(lambda: not self.open, seconds)

    async def more(self, number: int) -> None:
        """Wait until so many more requests have answers."""
        wanted = len(self.answers) + number
        await self._until(lambda: len(self.answers) >= wanted, PATIENCE)

    async def _until(self, fact: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(fact)

    def violations(self) -> list[str]:
        """Return what was promised and is not so."""
        found = [f"{name} was confirmed and never answered" for name in self.open]
        for name, bodies in self.answers.items():
            if name not in self.asked:
                found.append(f"nobody has asked {name}")
                continue
            if len(bodies) > 1:
                found.append(f"{name} has different answers: {list(bodies)}")
            answer = json.loads(next(iter(bodies)))
            if answer["status"] != "success" or answer["data"]["twice"] != 2 * self.asked[name]:
                found.append(f"{name} is answered wrongly: {answer}")
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Return how much was seen."""
        return {
            "asked": len(self.asked),
            "confirmed": len(self.confirmed),
            "answered": len(self.answers),
            "sent again": sum(bodies.total() - 1 for bodies in self.answers.values()),
            "answered, though not confirmed": len(self.answers.keys() - self.confirmed),
            "returned": self.returned,
        }


@asynccontextmanager
async def loading(load: Load) -> AsyncIterator[Load]:
    """Have a load on a node for the length of a block; it is heard, too, until the end of it."""
    hearing = asyncio.create_task(load.hear())
    asking = asyncio.create_task(load.publish())
    try:
        yield load
        load.stop()
        async with asyncio.timeout(PATIENCE):
            await asking
        await load.answered()
    finally:
        for task in (asking, hearing):
            task.cancel()
        await asyncio.gather(asking, hearing, return_exceptions=True)


def _cancelled() -> bool:
    """Return whether it is we who are cancelled, and not the library that says so of a connection that broke."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
