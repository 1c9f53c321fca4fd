"""A json-bus node over a broker in memory and a RabbitMQ in memory, and the words in which clients talk to it."""

import asyncio
import json

from brokers import DONE, House
from crossdock.core.jobs import Job, Outcome
from crossdock.core.requests import Query
from crossdock.protocols.jsonbus.answers import Answers
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.frontend import Frontend
from crossdock.protocols.jsonbus.options import NodeOptions
from jsonbus_bus import MemoryBus

DEAD = "svc.crossdock.requests.dead"
REQUESTS = "svc.crossdock.requests"


def request(id="r1", client="c", subject="work", **members) -> bytes:  # noqa: A002 - the member's name
    """Return the body of a request."""
    return json.dumps({"type": "request", "id": id, "clientId": client, "subject": subject, **members}).encode()


class Node:
    """A node named ``crossdock``, and one client ``c`` whose queue is there.

    Args:
        house: the broker.
        options: the node's.
    """

    def __init__(self, house: House, options: NodeOptions | None = None) -> None:
        self.house = house
        self.bus = MemoryBus()
        self.options = options or NodeOptions()
        self.pauses: list[float] = []
        self.bus.declare("c_notify")

    async def open(self) -> None:
        broker = self.house.broker
        self.frontend = Frontend(self.options, broker, self.bus, sleep=self._sleep)
        self.answers = Answers(self.options, broker, self.bus, lambda job: f"http://here/{job.id}", self.frontend.counters)
        self.frontend.start()
        self._answering = asyncio.create_task(self.answers.run())

    async def close(self) -> None:
        self._answering.cancel()
        await asyncio.gather(self._answering, return_exceptions=True)
        for task in set(self.frontend._tasks):
            task.cancel()
        await self.frontend.stop()

    async def kill(self) -> None:
        """End the process: RabbitMQ has its unsettled deliveries again, the disk has what it had."""
        await self.close()
        self.bus.go()
        await self.house.restart()
        await self.house.attach()
        self.bus.come()
        await self.open()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    @property
    def counts(self):
        return self.frontend.counters.values

    def send(self, body: bytes, **options) -> None:
        """Publish as a client does."""
        assert self.bus.send(body, **options)

    async def accepted(self, number: int = 1) -> None:
        """Wait until this many deliveries were acknowledged in all."""
        await self.until(lambda: sum(how == "accepted" for how, _ in self.bus.settlements) >= number)

    async def until(self, condition) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - there is nothing that tells of it
                await asyncio.sleep(0.001)

    async def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return list((await self.house.broker.intake.search(Query(ascending=True, limit=1000))).jobs)

    async def work(self, outcome: Outcome = DONE) -> Job:
        """Run the one job that is ready."""
        lease = await self.house.lease()
        await self.house.report(lease, outcome)
        return await self.house.job(lease.job)

    async def answer(self, queue: str = "c_notify") -> dict:
        """Take the next notification out of a client's queue."""
        return json.loads((await self.letter(queue)).body)

    async def letter(self, queue: str = "c_notify") -> Letter:
        """Take the next letter out of a client's queue."""
        return await self.bus.get(queue)

    async def dead(self) -> tuple[str, bytes]:
        """Take the next dead letter: its reason and its body."""
        letter = await self.bus.get(DEAD)
        assert letter.headers["x-original-key"] == "requests"
        return str(letter.headers["x-reason"]), letter.body

    async def settle(self) -> None:
        """Let everything that is under way come to rest."""
        await self.house.calm()
        for _ in range(50):
            await asyncio.sleep(0)
        await self.house.calm()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and whoever waits for it notice."""
        await self.house.advance(seconds)
        self.house.broker._desk.signals.notify("outbox:jsonbus")
        await self.settle()
