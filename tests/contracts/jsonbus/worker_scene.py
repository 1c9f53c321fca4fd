"""A worker with hands that a test moves, on a jobs queue, and the node at the other end: in memory, or on RabbitMQ."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiormq

from crossdock.app.bus_worker import DrainingFirst
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.requests import Capabilities, WorkerInfo
from crossdock.protocols.jsonbus.bus import Bus, Delivery, Letter
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.names import jobs_key, jobs_queue, results_key, results_queue
from crossdock.protocols.jsonbus.topology import BUS, JOBS, foreign_queue, own_queue
from crossdock.protocols.jsonbus.worker import JsonbusArtifacts, JsonbusDispatch
from crossdock.protocols.jsonbus.worker_address import parse_connect
from crossdock.worker import Worker
from jsonbus_bus import MemoryBus

LIMIT = 30.0
"""Seconds that anything here may take."""
NODE = "thumbs"


class Hands:
    """Implements :class:`~crossdock.core.ports.Runner`: each attempt runs until it is let go, and echoes its payload."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.free = asyncio.Event()
        self.free.set()
        self.news = asyncio.Condition()
        self.now = self.most = 0
        self.outcome: Outcome | None = None

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def run(self, lease: Lease, attempt: object) -> Outcome:
        assert isinstance(lease.payload, bytes)
        self.runs.append(json.loads(lease.payload))
        self.now += 1
        self.most = max(self.most, self.now)
        async with self.news:
            self.news.notify_all()
        try:
            await self.free.wait()
            return self.outcome or Outcome(kind=OutcomeKind.SUCCEEDED, result=lease.payload)
        finally:
            self.now -= 1

    async def begun(self, count: int) -> None:
        """Wait until so many attempts have begun in all."""
        async with asyncio.timeout(LIMIT), self.news:
            await self.news.wait_for(lambda: len(self.runs) >= count)


class Crew:
    """A worker, and what drains it."""

    def __init__(self, bus: Bus, name: str, slots: int, parameters: str) -> None:
        self.hands = Hands()
        self.said: list[str] = []
        address = parse_connect(f"jsonbus+amqp://host/?node={NODE}" + (f"&{parameters}" if parameters else ""))
        info = WorkerInfo(id=name, slots=slots, capabilities=Capabilities(values={"kind": ("echo",)}))
        self.dispatch = JsonbusDispatch(bus, address, say=self.said.append, look_again=0.05)
        kinds = {"echo": Kind(name="echo", runner="hands", raw=True)}
        self.worker = Worker(self.dispatch, JsonbusArtifacts(), {"hands": self.hands}, kinds, info)
        self.control = DrainingFirst(self.worker, self.dispatch)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.control.run())

    async def drained(self) -> None:
        self.control.drain()
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), LIMIT)

    async def released(self) -> None:
        self.control.drain()
        self.control.release()
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), LIMIT)

    async def close(self) -> None:
        self.hands.free.set()
        if self.task is not None and not self.task.done():
            await self.released()


class Scene:
    """The node's end, and crews. ``own`` says whether the queues are ours or those of the PHP library."""

    def __init__(self, own: bool) -> None:
        self.own = own
        self.jobs = jobs_queue(NODE) if own else jobs_key(NODE)
        self.results: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.dead: asyncio.Queue[bytes] = asyncio.Queue()
        self.node: Any = None
        self._stack = AsyncExitStack()

    async def new_bus(self) -> Bus:
        raise NotImplementedError

    async def lose_connections(self) -> None:
        """Break every connection; they come back."""
        raise NotImplementedError

    async def count(self, queue: str) -> int:
        """Return how many consumers a queue has."""
        raise NotImplementedError

    async def consumers(self, count: int) -> None:
        """Wait until so many consume jobs."""
        async with asyncio.timeout(LIMIT):
            while await self.count(self.jobs) != count:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.01)

    async def open(self) -> None:
        self.node = await self.new_bus()
        if self.own:
            self.declare_own()
        else:
            self.node.require(foreign_queue(jobs_key(NODE)))
        self.declare_results()
        async with asyncio.timeout(LIMIT):
            for queue in (self.jobs, results_queue(NODE)):
                while not await self.node.exists(queue):  # noqa: ASYNC110 - the broker tells nobody
                    await asyncio.sleep(0.01)

    def declare_own(self) -> None:
        """Declare our own jobs queue."""
        self.node.require(own_queue(jobs_queue(NODE), jobs_key(NODE), exchange=JOBS))
        self.node.consume(f"{jobs_queue(NODE)}.dead", self._buried, prefetch=100)

    def declare_results(self) -> None:
        queue = results_queue(NODE)
        self.node.require(own_queue(queue, results_key(NODE)))
        self.node.consume(queue, self._result, prefetch=100)

    async def close(self) -> None:
        await self._stack.aclose()

    async def crew(self, name: str = "w", slots: int = 1, parameters: str = "", *, start: bool = True) -> Crew:
        crew = Crew(await self.new_bus(), name, slots, parameters)
        self._stack.push_async_callback(crew.close)
        if start:
            crew.start()
        return crew

    async def push(self, job: str, attempt: int | None = 1, own: bool | None = None, **params: Any) -> None:
        """Push a job."""
        message: dict[str, Any] = {"type": "job", "id": job, "taskId": f"t-{job}", "createTime": "22-11-2026 17:01:45"}
        message |= {"status": "new", "params": {"job": job, **params}, "unknown": [1]}
        if attempt is not None:
            message["attempt"] = attempt
        await self.push_raw(json.dumps(message).encode(), own=own)

    async def push_again(self, job: str) -> None:
        """Push a job over a connection that was just lost, until the broker has it."""
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    return await self.push(job)
                except CrossdockError:
                    await asyncio.sleep(0.05)

    async def push_raw(self, body: bytes, own: bool | None = None) -> None:
        exchange = JOBS if (self.own if own is None else own) else BUS
        # Each with an id of its own, as publishers have it whose letters are not repetitions.
        letter = Letter(body=body, key=jobs_key(NODE), kind="job", id=f"letter-{id(body)}", exchange=exchange)
        await self.node.publish(letter)

    async def result(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.results.get(), LIMIT)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for a fact that nobody tells of."""
        async with asyncio.timeout(LIMIT):
            while not fact():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.005)

    def _result(self, delivery: Delivery) -> None:
        self.results.put_nowait(json.loads(delivery.body))
        delivery.accept()

    def _buried(self, delivery: Delivery) -> None:
        self.dead.put_nowait(delivery.body)
        delivery.accept()


class MemoryScene(Scene):
    """All on one broker in memory."""

    def __init__(self, own: bool) -> None:
        super().__init__(own)
        self.bus = MemoryBus()

    async def new_bus(self) -> Bus:
        return self.bus

    async def count(self, queue: str) -> int:
        return len(self.bus.queues[queue].consumers)

    async def lose_connections(self) -> None:
        self.bus.go()
        self.bus.come()


class RabbitScene(Scene):
    """Everybody with connections of their own to RabbitMQ."""

    def __init__(self, own: bool, vhost: Any) -> None:
        super().__init__(own)
        self.vhost = vhost

    async def new_bus(self) -> Bus:
        connection = Connection(ConnectionOptions(url=self.vhost.url))
        await connection.start()
        self._stack.push_async_callback(connection.close)
        return connection

    async def count(self, queue: str) -> int:
        async with aiormq.connect(self.vhost.url) as connection:
            declared = await (await connection.channel()).queue_declare(queue, passive=True)
        return declared.consumer_count or 0

    async def lose_connections(self) -> None:
        await asyncio.to_thread(
            self.vhost.rabbit.control, "close_all_connections", "--vhost", self.vhost.name, "the test wants it"
        )
