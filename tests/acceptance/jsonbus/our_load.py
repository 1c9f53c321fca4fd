"""The load of our own client: calls that come back, each with a result that no other run gives."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from crossdock.protocols.jsonbus.client import AsyncJsonbusClient
from rabbit import Vhost

CONVERSATIONS = 8
PATIENCE = 90.0


class Calls:
    """Calls of the functions of ``fault_app.py``, several at a time.

    Args:
        client: what calls.
        kinds: what is called, in turn.
    """

    def __init__(self, client: AsyncJsonbusClient, kinds: Sequence[str]) -> None:
        self.nonces: list[str] = []
        self._client = client
        self._kinds = itertools.cycle(kinds)
        self._ends = asyncio.Event()
        self._news = asyncio.Condition()

    async def call(self) -> None:
        """Call again and again until :meth:`stop`; a call that fails or takes too long ends the test."""
        while not self._ends.is_set():
            number = len(self.nonces)
            reply = await self._client.request(next(self._kinds), {"n": number, "seconds": 0.01}, timeout=PATIENCE)
            assert reply.data["twice"] == 2 * number
            self.nonces.append(reply.data["nonce"])
            async with self._news:
                self._news.notify_all()

    async def more(self, number: int) -> None:
        """Wait until so many more calls have come back."""
        wanted = len(self.nonces) + number
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(self.nonces) >= wanted)

    def stop(self) -> None:
        """Call nothing more."""
        self._ends.set()


@asynccontextmanager
async def calling(vhost: Vhost, kinds: Sequence[str]) -> AsyncIterator[Calls]:
    """Have calls made for the length of a block; at the end of it all have come back."""
    async with AsyncJsonbusClient(f"jsonbus+{vhost.url}") as client, asyncio.TaskGroup() as group:
        calls = Calls(client, kinds)
        for _ in range(CONVERSATIONS):
            group.create_task(calls.call())
        yield calls
        calls.stop()
