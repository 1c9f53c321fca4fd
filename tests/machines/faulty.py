"""What goes wrong in a simulated world: the mix of a history, the disk, and the network."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from msgspec import Struct

from crossdock.core.broker import Broker
from crossdock.core.changes import Group
from crossdock.core.errors import CrossdockError, StoreBroken, StoreFull
from crossdock.stores.memory import MemoryStore


class Mix(Struct, frozen=True):
    """How often things go wrong in one history. Each seed draws its own: some faults are only seen when others are rare."""

    drop: float
    duplicate: float
    latency: float
    commit: float
    read: float
    full: float
    broken: float
    crashes: float
    worker_crashes: float
    partitions: float
    jumps: float
    rude: float

    @classmethod
    def drawn(cls, random: Random) -> "Mix":
        """Return a mix."""
        return cls(
            drop=random.choice((0, 0, 0.02, 0.1, 0.3)),
            duplicate=random.choice((0, 0, 0.05, 0.2)),
            latency=random.choice((0.001, 0.02, 0.2)),
            commit=random.choice((0, 0.002, 0.02, 0.2)),
            read=random.choice((0, 0, 0.005, 0.05)),
            full=random.choice((0, 0, 0, 0.1)),
            broken=random.choice((0, 0, 0, 0.01)),
            crashes=random.choice((0, 0.1, 0.3, 1.0)),
            worker_crashes=random.choice((0, 0.1, 0.5)),
            partitions=random.choice((0, 0, 0.1, 0.3)),
            jumps=random.choice((0, 0, 0.3)),
            rude=random.choice((0, 0.2, 1.0)),
        )


class Disk:
    """The store as one process sees it: slow, full, broken, and gone for that process once it was killed.

    Args:
        store: what survives.
        watch: called with each group just before it is applied.
    """

    def __init__(self, store: MemoryStore, mix: Mix, random: Random, watch: Callable[[Group], None]) -> None:
        self._store = store
        self._mix = mix
        self._random = random
        self._watch = watch
        self.calm = False
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in {"open", "close"} or not self._mix.read:
            return method
        return lambda *arguments: self._slow_read(method, arguments)

    async def _slow_read(self, method: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> Any:
        """Read now or later, answer later: both are allowed to a database."""
        await asyncio.sleep(self._random.random() * self._mix.read)
        self._check()
        answer = await method(*arguments)
        await asyncio.sleep(self._random.random() * self._mix.read)
        return answer

    async def commit(self, group: Group) -> None:
        """Apply a group whole; the process may be killed before and after."""
        await self._pause()
        self._check()
        if not self.calm and self._random.random() < self._mix.full:
            raise StoreFull("the disk is full")
        if not self.calm and self._random.random() < self._mix.broken:
            raise StoreBroken("a write failed")
        self._watch(group)
        await self._store.commit(group)
        await self._pause()

    async def _pause(self) -> None:
        if self._mix.commit:
            await asyncio.sleep(self._random.expovariate(1 / self._mix.commit))

    def _check(self) -> None:
        if self.dead:
            raise asyncio.CancelledError


class Lost(Exception):
    """No answer came in time."""


class Network:
    """Between the doors of the broker and everybody else: messages are late, lost, doubled and out of order."""

    def __init__(self, mix: Mix, random: Random, serve: Callable[[Awaitable[Any]], None]) -> None:
        self._mix = mix
        self._random = random
        self._serve = serve
        self.broker: Broker | None = None
        self.cut: set[str] = set()
        self.calm = False

    async def call(self, peer: str, request: Callable[[Broker], Awaitable[Any]], patience: float = 3.0) -> Any:
        """Let the broker answer a request of ``peer``.

        Raises:
            Lost: there was no answer; whether the request was served is not known.
            CrossdockError: the broker refused.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        for _ in range(2 if self._chance(self._mix.duplicate) else 1):
            self._send(f"{peer}>", lambda: self._arrive(peer, request, reply))
        try:
            async with asyncio.timeout(patience):
                answer = await reply
        except TimeoutError:
            raise Lost(peer) from None
        if isinstance(answer, CrossdockError):
            raise answer
        return answer

    def _arrive(self, peer: str, request: Callable[[Broker], Awaitable[Any]], reply: asyncio.Future[Any]) -> None:
        if self.broker is not None:
            self._serve(self._answer(self.broker, peer, request, reply))

    async def _answer(
        self, broker: Broker, peer: str, request: Callable[[Broker], Awaitable[Any]], reply: asyncio.Future[Any]
    ) -> None:
        try:
            answer = await request(broker)
        except CrossdockError as error:
            answer = error
        self._send(f"<{peer}", lambda: reply.done() or reply.set_result(answer))

    def _send(self, way: str, deliver: Callable[[], Any]) -> None:
        if way not in self.cut and not self._chance(self._mix.drop):
            latency = 0.001 if self.calm else self._random.expovariate(1 / self._mix.latency)
            asyncio.get_running_loop().call_later(latency, deliver)

    def _chance(self, probability: float) -> bool:
        return not self.calm and self._random.random() < probability
