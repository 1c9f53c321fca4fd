"""The public broker's door for workers, as far as workers can tell: its state machine, its faults included.

A tool of tests. It keeps all in memory, has one queue, and dies of a ``done`` from a worker that has no job, as the original
does. Times are scaled by the ping interval, so that a test need not wait for seconds.
"""

import asyncio
import time

import zmq
import zmq.asyncio

LIVENESS = 4


class Worker:
    def __init__(self, headers, description):
        self.headers = headers
        self.description = description
        self.liveness = 0
        self.timer = 0.0
        self.job = None
        self.incomplete = False


class Died(Exception):
    """What the original dies of."""


class PublicBroker:
    """One broker on one port, which may be killed and started again."""

    def __init__(self, interval: float = 0.1, files: str = "http://files") -> None:
        self.interval = interval
        self.files = files
        self.port = 0
        self.inits: list[list[bytes]] = []
        self.ended: list[tuple[str, str, str]] = []
        self.progress: list[tuple[str, ...]] = []
        self.died: str | None = None
        self.changed = asyncio.Event()
        self._context = zmq.asyncio.Context()
        self._task: asyncio.Task[None] | None = None
        self._clear()

    def _clear(self) -> None:
        self.workers: dict[bytes, Worker] = {}
        self.queue: list[tuple[str, str, str]] = []
        self.given: list[tuple[bytes, str]] = []

    async def start(self) -> None:
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        deadline = time.monotonic() + 5
        while True:
            try:
                self._socket.bind(f"tcp://127.0.0.1:{self.port or '*'}")
                break
            except zmq.ZMQError:  # the killed one has not let go of the port yet
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._task = asyncio.create_task(self._run())

    async def kill(self) -> None:
        """Forget everything; nothing that is on its way gets out."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self._socket.close(0)
        self._clear()

    async def close(self) -> None:
        await self.kill()
        self._context.destroy(0)
        assert self.died is None, self.died

    async def submit(self, job: str) -> None:
        """Accept a job without requirements."""
        self.queue.append((job, f"{self.files}/{job}.zip", f"{self.files}/{job}.result"))
        for peer, worker in self.workers.items():
            if worker.job is None:
                await self._next(peer, worker)

    async def until(self, condition, seconds: float = 30.0) -> None:
        """Wait until something is so; it is looked at whenever a message came."""
        async with asyncio.timeout(seconds):
            while not condition():
                assert self.died is None, self.died
                self.changed.clear()
                await self.changed.wait()

    async def say(self, peer: bytes, *frames: bytes) -> None:
        await self._socket.send_multipart([peer, *frames])

    async def _run(self) -> None:
        looked = time.monotonic()
        while True:
            if await self._socket.poll(int(self.interval * 100)):
                peer, *frames = await self._socket.recv_multipart()
                try:
                    await self._receive(peer, frames)
                except Died as error:
                    self.died = str(error)
                    self.changed.set()
                    return
                self.changed.set()
            now = time.monotonic()
            await self._age(now - looked)
            looked = now

    async def _age(self, seconds: float) -> None:
        for peer, worker in list(self.workers.items()):
            worker.timer += seconds
            if worker.timer <= self.interval:
                continue
            worker.timer = 0.0
            worker.liveness -= 1  # never alive: it is below 0 from now on, and stays for ever
            if worker.liveness == 0:
                del self.workers[peer]
                if worker.job is not None and not worker.incomplete:
                    await self.submit(worker.job)
                elif worker.job is not None:
                    self.ended.append((worker.job, "FAILED", "Worker timed out and its job cannot be reassigned"))
                self.changed.set()

    async def _receive(self, peer: bytes, frames: list[bytes]) -> None:
        worker = self.workers.get(peer)
        if worker is not None:
            worker.liveness, worker.timer = LIVENESS, 0.0
        command, *arguments = frames
        if command == b"ping":
            await self.say(peer, b"intro" if worker is None else b"pong")
        elif command == b"init":
            await self._init(peer, worker, arguments)
        elif command == b"progress":
            self.progress.append(tuple(frame.decode() for frame in arguments))
        elif command == b"done" and worker is not None:
            await self._done(peer, worker, arguments)

    async def _init(self, peer: bytes, known: Worker | None, arguments: list[bytes]) -> None:
        self.inits.append(arguments)
        end = arguments.index(b"") if b"" in arguments else len(arguments)
        about = dict(item.decode().split("=", 1) for item in arguments[end + 1 :])
        headers = sorted(arguments[1:end])
        if known is not None:
            assert known.headers == headers, "a second init with other headers makes a second worker"
            return
        worker = self.workers[peer] = Worker(headers, about.get("description"))
        if "current_job" in about:
            worker.job, worker.incomplete = about["current_job"], True
        else:
            await self._next(peer, worker)

    async def _done(self, peer: bytes, worker: Worker, arguments: list[bytes]) -> None:
        job, status, message = [frame.decode() for frame in arguments]
        if worker.job is None:
            raise Died(f"done {job} {status} from a worker without a job")
        if worker.job != job or status not in ("OK", "FAILED", "INTERNAL_ERROR"):
            return
        worker.job, incomplete, worker.incomplete = None, worker.incomplete, False
        if status != "INTERNAL_ERROR" or incomplete:
            self.ended.append((job, "OK" if status == "OK" else "FAILED", message))
            await self._next(peer, worker)
        else:
            await self.submit(job)

    async def _next(self, peer: bytes, worker: Worker) -> None:
        if self.queue:
            job, archive, result = self.queue.pop(0)
            worker.job = job
            self.given.append((peer, job))
            await self.say(peer, b"eval", job.encode(), archive.encode(), result.encode())
