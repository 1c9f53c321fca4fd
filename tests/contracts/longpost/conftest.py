"""A real broker on SQLite behind a real HTTP server, in this process, with hands that the tests can hold still."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from servers import free_port
from starlette.applications import Starlette

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Query, WorkerInfo
from crossdock.http.auth import ApiKey, Authenticator
from crossdock.http.handlers import EXCEPTION_HANDLERS
from crossdock.http.server import Server, ServerOptions
from crossdock.http.shield import Shield
from crossdock.protocols.longpost import LongpostOptions, routes
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore


class ShiftedClock:
    """The real clocks, moved forward when a test says so."""

    def __init__(self) -> None:
        self.shift = 0.0

    def wall(self) -> float:
        return time.time() + self.shift

    def monotonic(self) -> float:
        return time.monotonic() + self.shift


def need_width(payload: bytes) -> None:
    if not isinstance(msgspec.json.decode(payload), dict) or "width" not in msgspec.json.decode(payload):
        raise CrossdockError(Code.INVALID, "parameter width is missing")


ONCE = Policy(attempts=1)
KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="echo", raw=True, policy=ONCE),
        Kind(name="held", raw=True, policy=Policy(backoff=0.0, grace=0.1)),
        Kind(name="slow", raw=True, policy=ONCE),
        Kind(name="stopped", raw=True, policy=ONCE),
        Kind(name="big", raw=True, policy=ONCE),
        Kind(name="fail", raw=True, policy=ONCE),
        Kind(name="boom", raw=True, policy=ONCE),
        Kind(name="none", raw=True, policy=ONCE),
        Kind(name="typed", check=need_width, policy=ONCE),
        Kind(name="open", raw=True, policy=ONCE, public=True),
    )
}


class Place:
    """One server: its broker, its hands, and the clients that tests make."""

    def __init__(self, data: Path, options: LongpostOptions, keys: tuple[ApiKey, ...]) -> None:
        self.clock = ShiftedClock()
        self.data = data
        self.options = options
        self.keys = keys
        self.release = asyncio.Event()
        self.claimed = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.port = 0

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = Broker(
            store=SqliteStore(self.data / "crossdock.db", "OFF"),
            artifacts=file_artifacts(self.data / "artifacts"),
            signals=LocalSignals(),
            clock=self.clock,
            kinds=KINDS,
        )
        await self.broker.open()
        broker = self.broker
        doors = routes(
            broker.intake, broker.records, broker.artifacts, self.clock, KINDS, self.options, Authenticator(self.keys)
        )
        app = Shield(Starlette(routes=doors, exception_handlers=dict(EXCEPTION_HANDLERS)))
        self.server = Server(app, ServerOptions(port=self.port))
        await self.server.start()
        self.port = self.server.port
        self.client = httpx.AsyncClient(base_url=self.server.url, timeout=10)
        self.hands = asyncio.create_task(self.work())

    async def close(self) -> None:
        await self.client.aclose()
        await self.server.stop()
        self.hands.cancel()
        await asyncio.gather(self.hands, return_exceptions=True)
        await self.broker.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    def url(self, kind: str) -> str:
        return f"{self.server.url}/longpost/{kind}"

    async def post(self, kind: str, **message: object) -> httpx.Response:
        return await self.client.post(f"/longpost/{kind}", json=message)

    async def ask(self, kind: str, **message: object) -> dict:
        response = await self.post(kind, **message)
        assert response.status_code == 200, response.text
        return response.json()

    async def start(self, kind: str, payload: object) -> dict:
        return await self.ask(kind, action="start", payload=payload)

    async def finish(self, kind: str, token: str) -> None:
        """Let held jobs go, and wait until the job of a token has ended."""
        self.release.set()
        record = await self.broker.records.get("longpost.task", f"{kind}/{token}")
        assert record is not None
        assert (await self.broker.intake.wait(int(record.value), 10)).terminal

    async def work(self) -> None:
        dispatch = self.broker.dispatch
        info = WorkerInfo(id="local/hands", slots=100, capabilities=Capabilities(values={"kind": tuple(KINDS)}), local=True)
        await dispatch.attach(info)
        async with asyncio.TaskGroup() as group:
            while True:
                for lease in await dispatch.claim("local/hands", 100, 10):
                    self.claimed.set()
                    group.create_task(self.run(lease))

    async def run(self, lease: Lease) -> None:
        payload = await load(self.broker.artifacts, lease.payload)
        await self.broker.dispatch.report(lease.token, await self.outcome(lease.kind, payload))

    def running(self) -> Query:
        """Return the query for jobs that are being worked on."""
        return Query(states=(State.LEASED,))

    async def stopped(self) -> int:
        """Return how many jobs were stopped."""
        jobs = (await self.broker.intake.search(Query())).jobs
        return sum(job.cancel_requested or job.state is State.CANCELLED for job in jobs)

    async def outcome(self, kind: str, payload: bytes) -> Outcome:
        await self.free.wait()
        match kind:
            case "held":
                await self.release.wait()
            case "slow":
                await asyncio.sleep(msgspec.json.decode(payload))
            case "stopped":
                payload = msgspec.json.encode(await self.stopped())
            case "big":
                text, times = msgspec.json.decode(payload)
                payload = msgspec.json.encode(text * times)
            case "fail":
                code, message = msgspec.json.decode(payload)
                return Outcome(kind=OutcomeKind.FAILED, code=str(code), message=message)
            case "boom":
                return Outcome(kind=OutcomeKind.ERRORED, code="ValueError", message="secret of the implementation")
            case "none":
                payload = b"null"
        return Outcome(kind=OutcomeKind.SUCCEEDED, result=payload)


@pytest.fixture
def clock() -> ShiftedClock:
    """The time."""
    return ShiftedClock()


@pytest.fixture
def options() -> LongpostOptions:
    """What the server is started with; tests override it."""
    return LongpostOptions(misses_per_minute=1000, breaker=1e9)


@pytest.fixture
def keys() -> tuple[ApiKey, ...]:
    """The API keys of the server; tests override it."""
    return ()


@pytest.fixture
async def place(tmp_path: Path, options: LongpostOptions, keys: tuple[ApiKey, ...]) -> AsyncIterator[Place]:
    """A running server."""
    place = Place(tmp_path, options, keys)
    await place.open()
    yield place
    await place.close()


class Quick:
    """The server of the quick-server package, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/longpost/{kind}"


@pytest.fixture(scope="session")
def quick() -> Iterator[Quick]:
    """The public server."""
    port = free_port()
    script = Path(__file__).with_name("quick_endpoint.py")
    process = subprocess.Popen([sys.executable, str(script), str(port)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_open(port)
        yield Quick(port)
    finally:
        process.kill()
        process.wait()


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "quick_server did not start"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(params=["crossdock", "quick_server"])
def endpoint(request: pytest.FixtureRequest) -> Place | Quick:
    """Each server a client may meet."""
    return request.getfixturevalue("place" if request.param == "crossdock" else "quick")
