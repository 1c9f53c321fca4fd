"""A broker with both ReCodEx doors open, and peers over real ZeroMQ that say exactly what a test wants."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import zmq
import zmq.asyncio

from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.jobs import Job
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Query
from crossdock.protocols.recodex.backend import Backend
from crossdock.protocols.recodex.frontend import Frontend
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

PATIENCE = 20.0
"""Seconds to wait for what has to come, on a loaded machine too."""
ANY_PORT = "tcp://127.0.0.1:0"


class Peer:
    """A DEALER socket, as clients and workers have one."""

    def __init__(self, context: zmq.asyncio.Context, port: int) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.set_hwm(0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    async def say(self, *texts: str | bytes) -> None:
        """Send one message."""
        await self.socket.send_multipart([text.encode() if isinstance(text, str) else text for text in texts])

    async def hear(self, timeout: float = PATIENCE) -> list[str]:
        """Return the next message."""
        async with asyncio.timeout(timeout):
            return [frame.decode() for frame in await self.socket.recv_multipart()]

    async def hear_raw(self, timeout: float = PATIENCE) -> list[bytes]:
        """Return the next message as bytes."""
        async with asyncio.timeout(timeout):
            return await self.socket.recv_multipart()

    async def silent(self, seconds: float = 0.3) -> bool:
        """Tell whether nothing comes for a while."""
        return not await self.socket.poll(seconds * 1000)

    def close(self) -> None:
        self.socket.close(0)


class Client(Peer):
    """A client that submits evaluations."""

    async def eval(self, job: str, *headers: str, urls: Iterable[str] = ("http://a/1.zip", "http://r/1")) -> list[str]:
        """Submit a job as today's frontend does; return the verdict."""
        await self.say("eval", job, *headers, "", *urls)
        assert await self.hear() == ["ack"]
        return await self.hear()

    async def stats(self) -> dict[str, str]:
        """Return the counters."""
        await self.say("get-runtime-stats")
        frames = await self.hear()
        return dict(zip(frames[::2], frames[1::2], strict=True))


class Worker(Peer):
    """A worker that does what the test says, and nothing by itself."""

    async def init(self, group: str = "group1", *rest: str) -> None:
        """Introduce itself, and wait until the broker knows it."""
        await self.say("init", group, *rest)
        await self.known()

    async def known(self) -> None:
        """Wait for the pong; an eval that comes before it is kept for the next :meth:`job`."""
        await self.say("ping")
        assert await self.hear() == ["pong"]

    async def job(self, timeout: float = PATIENCE) -> list[str]:
        """Return the next eval, passing over pongs."""
        while True:
            frames = await self.hear(timeout)
            if frames != ["pong"]:
                assert frames[0] == "eval", frames
                return frames


class Scene:
    """One data directory, and the broker that is up now."""

    def __init__(
        self,
        place: Path,
        options: RecodexOptions | None = None,
        hooks: Hooks | None = None,
        lease: float = 20.0,
    ) -> None:
        self.place = place
        self.kinds = {name: Kind(name=name, raw=True, policy=Policy(lease=lease)) for name in ("evaluation", "echo")}
        self.context = zmq.asyncio.Context()
        self.fed: list[tuple[str, ...]] = []
        self.stray: list[tuple[str, ...]] = []
        self.hooks = hooks or Hooks(raw=self._keep(self.stray), feed=self._keep(self.fed))
        self.options = options or RecodexOptions(clients=ANY_PORT, workers=ANY_PORT)
        self.peers: list[Peer] = []

    @staticmethod
    def _keep(into: list[tuple[str, ...]]):
        return lambda job, frames: into.append((job, *(frame.decode(errors="replace") for frame in frames)))

    async def open(self) -> None:
        self.broker = Broker(
            store=SqliteStore(self.place / "crossdock.db"),
            artifacts=file_artifacts(self.place / "artifacts"),
            signals=LocalSignals(),
            clock=SystemClock(),
            kinds=self.kinds,
        )
        await self.broker.open()
        self.counters = Counters(time.monotonic, structlog.get_logger("crossdock.recodex").warning)
        self.frontend = Frontend(self.options, self.broker, self.hooks, self.counters)
        self.backend = Backend(self.options, self.broker, self.hooks, self.counters)
        await self.frontend.start()
        await self.backend.start()

    async def close(self) -> None:
        await self.frontend.stop()
        await self.backend.stop()
        await self.broker.close()

    async def restart(self) -> None:
        """End the broker and start the next one on the same ports and data; connections stay with their peers."""
        ports = (self.frontend.port, self.backend.port)
        await self.close()
        self.options = RecodexOptions(
            clients=f"tcp://127.0.0.1:{ports[0]}",
            workers=f"tcp://127.0.0.1:{ports[1]}",
            ping_interval=self.options.ping_interval,
            max_liveness=self.options.max_liveness,
        )
        await self.open()

    def client(self) -> Client:
        return self._join(Client(self.context, self.frontend.port))

    def worker(self) -> Worker:
        return self._join(Worker(self.context, self.backend.port))

    async def ready_worker(self, group: str = "group1", *rest: str) -> Worker:
        worker = self.worker()
        await worker.init(group, *rest)
        return worker

    def _join(self, peer):
        self.peers.append(peer)
        return peer

    async def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return list((await self.broker.intake.search(Query(ascending=True))).jobs)

    async def until(self, condition, what: str = "it") -> None:
        """Wait until a condition holds; it may be a coroutine function."""
        ends = time.monotonic() + PATIENCE
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < ends, f"{what} never happened"
            await asyncio.sleep(0.01)

    async def ended(self, count: int = 1) -> list[Job]:
        """Wait until this many jobs have ended; return all jobs."""

        async def enough() -> bool:
            return sum(job.terminal for job in await self.jobs()) >= count

        await self.until(enough, f"the end of {count} job(s)")
        return await self.jobs()


@asynccontextmanager
async def scene_at(place: Path, options: RecodexOptions | None = None, hooks: Hooks | None = None, lease: float = 20.0):
    """Open a scene, and close whatever is open at its end. ``lease`` is how many seconds leases last."""
    scene = Scene(place, options, hooks, lease)
    await scene.open()
    try:
        yield scene
    finally:
        for peer in scene.peers:
            peer.close()
        await scene.close()
        scene.context.term()
