"""A json-bus node on a bus that may be RabbitMQ or one in memory, and clients that talk to it as the PHP library does."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import aiormq
from msgspec import Struct
from pamqp import commands

from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import Job, Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import LOCAL, Capabilities, Query, WorkerInfo
from crossdock.protocols.jsonbus.answers import Answers
from crossdock.protocols.jsonbus.bus import Bus
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.frontend import Frontend
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.references import References
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore
from jsonbus_bus import MemoryBus

PATIENCE = 30.0
"""Seconds to wait for what has to come, on a loaded machine too."""
DONE = Outcome(kind=OutcomeKind.SUCCEEDED, result=b'{"n": 1}')


class Got(Struct):
    """A message out of a queue."""

    body: bytes
    id: str
    correlation: str
    headers: Mapping[str, object]

    @property
    def message(self) -> dict:
        return json.loads(self.body)


class Station(Protocol):
    """A bus, seen by the node as ``bus`` and by its clients as the rest."""

    bus: Bus

    async def declare(self, queue: str) -> None:
        """Declare a client's queue as the PHP library does."""
        ...

    async def vanish(self, queue: str) -> None:
        """Delete it."""
        ...

    async def send(self, body: bytes, reply_to: str = "", headers: Mapping[str, object] | None = None) -> None:
        """Publish a body under the key ``requests``, without properties but these."""
        ...

    async def take(self, queue: str) -> Got | None:
        """Take what is next in a queue, None if there is nothing."""
        ...

    async def hang_up(self) -> None:
        """End the node's connection, as a kill of its process does."""
        ...

    async def connect(self) -> None:
        """Have one again."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


class MemoryStation:
    """The bus in memory."""

    def __init__(self) -> None:
        self.bus = MemoryBus()

    async def declare(self, queue: str) -> None:
        self.bus.declare(queue)

    async def vanish(self, queue: str) -> None:
        self.bus.vanish(queue)

    async def send(self, body: bytes, reply_to: str = "", headers: Mapping[str, object] | None = None) -> None:
        assert self.bus.send(body, reply_to=reply_to, headers=headers)

    async def take(self, queue: str) -> Got | None:
        if not self.bus.size(queue):
            return None
        letter = await self.bus.get(queue)
        return Got(letter.body, letter.id, letter.correlation, letter.headers)

    async def hang_up(self) -> None:
        self.bus.go()
        for queue in self.bus.queues.values():
            queue.consumers.clear()

    async def connect(self) -> None:
        self.bus.come()

    async def close(self) -> None:
        pass


class RabbitStation:
    """RabbitMQ.

    Args:
        url: of a virtual host.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.bus = Connection(ConnectionOptions(url=url))

    async def open(self) -> None:
        self._wire = await aiormq.connect(self._url)
        self._channel = await self._wire.channel()

    async def declare(self, queue: str) -> None:
        await self._channel.exchange_declare("jsonbus", exchange_type="direct", durable=True, auto_delete=True)
        await self._channel.queue_declare(queue, durable=True, auto_delete=True)
        await self._channel.queue_bind(queue, "jsonbus", queue)

    async def vanish(self, queue: str) -> None:
        await self._channel.queue_delete(queue)

    async def send(self, body: bytes, reply_to: str = "", headers: Mapping[str, object] | None = None) -> None:
        properties = commands.Basic.Properties(reply_to=reply_to or None, headers=dict(headers) if headers else None)
        await self._channel.basic_publish(body, exchange="jsonbus", routing_key="requests", properties=properties)

    async def take(self, queue: str) -> Got | None:
        message = await self._channel.basic_get(queue, no_ack=True)
        if isinstance(message.delivery, commands.Basic.GetEmpty):
            return None
        properties = message.header.properties
        assert properties.delivery_mode == 2
        return Got(message.body, properties.message_id or "", properties.correlation_id or "", properties.headers or {})

    async def hang_up(self) -> None:
        await self.bus.close()
        self.bus = Connection(ConnectionOptions(url=self._url))

    async def connect(self) -> None:
        await self.bus.start()

    async def close(self) -> None:
        await self.bus.close()
        await self._wire.close()


class Scene:
    """One data directory, the node that is up now, and a worker that does what the test says."""

    def __init__(self, place: Path, station: Station, options: NodeOptions | None = None) -> None:
        self.place = place
        self.station = station
        self.options = options or NodeOptions()
        self.kinds = {"work": Kind(name="work", policy=Policy(attempts=1, lease=60.0))}

    async def open(self) -> None:
        self.broker = Broker(
            store=SqliteStore(self.place / "crossdock.db"),
            artifacts=file_artifacts(self.place / "artifacts"),
            signals=LocalSignals(),
            clock=SystemClock(),
            kinds=self.kinds,
        )
        await self.broker.open()
        self.references = References(self.broker, self.options.keep, "http://here")
        await self.references.start()
        self.frontend = Frontend(self.options, self.broker, self.station.bus)
        self.answers = Answers(self.options, self.broker, self.station.bus, self.references.url, self.frontend.counters)
        self.frontend.start()
        await self.station.connect()
        self._answering = asyncio.create_task(self.answers.run())
        info = WorkerInfo(
            id=LOCAL + "w", slots=1000, capabilities=Capabilities(values={"kind": tuple(self.kinds)}), local=True
        )
        await self.broker.dispatch.attach(info)

    async def close(self, *, kill: bool = False) -> None:
        """End the node; a kill leaves everything as it is."""
        if kill:
            for task in set(self.frontend._tasks):
                task.cancel()
        await self.frontend.stop()
        self._answering.cancel()
        await asyncio.gather(self._answering, return_exceptions=True)
        await self.station.hang_up()
        await self.broker.close()

    async def restart(self, *, kill: bool = False) -> None:
        await self.close(kill=kill)
        await self.open()

    # Clients

    async def ask(self, id: str = "r1", client: str = "c", reply_to: str = "", hops: int = 0, **members) -> None:  # noqa: A002
        """Publish a request."""
        body = {"type": "request", "id": id, "clientId": client, "subject": "work", **members}
        await self.station.send(json.dumps(body).encode(), reply_to, {"x-hops": hops} if hops else None)

    async def get(self, queue: str = "c_notify", patience: float = PATIENCE) -> Got:
        """Take the next message out of a queue, waiting for it."""
        async with asyncio.timeout(patience):
            while (got := await self.station.take(queue)) is None:  # noqa: ASYNC110 - it polls
                await asyncio.sleep(0.02)
        return got

    async def silent(self, queue: str = "c_notify", seconds: float = 0.3) -> bool:
        """Tell whether nothing comes for a while."""
        await asyncio.sleep(seconds)
        return await self.station.take(queue) is None

    # Work

    async def leases(self, number: int = 1) -> list[Lease]:
        """Claim this many leases, waiting for them."""
        found: list[Lease] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < number:
                found += await self.broker.dispatch.claim(LOCAL + "w", number - len(found), 1.0)
        return found

    async def work(self, number: int = 1, outcome: Outcome = DONE) -> None:
        """Run this many jobs."""
        for lease in await self.leases(number):
            await self.broker.dispatch.report(lease.token, outcome)

    async def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return list((await self.broker.intake.search(Query(ascending=True, limit=1000))).jobs)


@asynccontextmanager
async def scene_at(place: Path, station: Station, options: NodeOptions | None = None):
    """Open a scene whose client ``c`` has its queue, and close it."""
    scene = Scene(place, station, options)
    await station.declare("c_notify")
    await scene.open()
    try:
        yield scene
    finally:
        await scene.close()
        await station.close()
