"""A server over a real broker, with workers that do exactly what a test tells them to."""

import asyncio
import hashlib
import json
import time
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import MemberOutcome, Outcome, OutcomeKind, Progress
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Note, WorkerInfo
from crossdock.http.auth import ApiKey, Authenticator, Scope
from crossdock.http.connection import Limits
from crossdock.http.server import Server, ServerOptions
from crossdock.protocols.ogc.frontend.application import create_app
from crossdock.protocols.ogc.frontend.door import OgcOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore


class Clock:
    def wall(self):
        return time.time()

    def monotonic(self):
        return time.monotonic()


def check_add(payload):
    value = json.loads(payload)
    for name in ("a", "b"):
        if not isinstance(value.get(name), int):
            raise CrossdockError(Code.INVALID, f"{name}: an integer is needed")


ADD_INPUTS = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "title": "first", "description": "one number"},
        "b": {"type": "integer", "default": 0},
        "options": {"type": "object"},
    },
    "required": ["a"],
}

KINDS = {
    "add": Kind(name="add", title="Addition", inputs=ADD_INPUTS, outputs={"type": "integer"}, policy=Policy(attempts=1)),
    "echo": Kind(name="echo", raw=True, policy=Policy(attempts=1)),
    "checked": Kind(name="checked", inputs=ADD_INPUTS, check=check_add),
}


class Hands:
    """A worker in the test's own hands."""

    def __init__(self, broker):
        self.broker = broker

    async def attach(self):
        capabilities = Capabilities(values={"kind": tuple(KINDS)})
        info = WorkerInfo(id="local/hands", slots=100, capabilities=capabilities, local=True)
        await self.broker.dispatch.attach(info)

    async def take(self):
        [lease] = await self.broker.dispatch.claim("local/hands", 1, 5)
        return lease

    async def succeed(self, value=None, lease=None):
        lease = lease or await self.take()
        result = msgspec.json.encode(value)
        await self.broker.dispatch.report(lease.token, Outcome(kind=OutcomeKind.SUCCEEDED, result=result))
        return lease

    async def fail(self, code="boom", message="it broke", lease=None):
        lease = lease or await self.take()
        outcome = Outcome(kind=OutcomeKind.FAILED, code=code, message=message)
        await self.broker.dispatch.report(lease.token, outcome)
        return lease

    async def progress(self, lease, done, total, message=""):
        await self.broker.dispatch.note(lease.token, Note(progress=Progress(done, total, message)))

    async def take_members(self):
        """Lease everything that is queued of an array: the first lease waits for it."""
        leases = await self.broker.dispatch.claim("local/hands", 100, 5)
        while more := await self.broker.dispatch.claim("local/hands", 100):
            leases += more
        return Chunks(self, leases)


class Chunks:
    """The members of an array that are leased, whatever chunks they came in."""

    def __init__(self, hands, leases):
        self._hands = hands
        self._leases = {index: lease for lease in leases for index in lease.members.indexes}
        pairs = [pair for lease in leases for pair in zip(lease.members.indexes, lease.members.parameters, strict=True)]
        self.parameters = dict(sorted(pairs))

    async def report(self, outcomes):
        """Report members: a mapping from position to a value, or to an exception for a failure."""
        told = {}
        for index, value in outcomes.items():
            told.setdefault(self._leases[index].token, []).append(MemberOutcome(index=index, outcome=_outcome(value)))
        for token, members in told.items():
            await self._hands.broker.dispatch.report_members(token, members)


def _outcome(value):
    if isinstance(value, Exception):
        return Outcome(kind=OutcomeKind.FAILED, code="bad", message=str(value))
    return Outcome(kind=OutcomeKind.SUCCEEDED, result=msgspec.json.encode(value))


async def open_broker(store, tmp_path):
    broker = Broker(
        store=store,
        artifacts=file_artifacts(tmp_path / "artifacts"),
        signals=LocalSignals(),
        clock=Clock(),
        kinds=KINDS,
    )
    await broker.open()
    return broker


@pytest.fixture
async def memory_broker(tmp_path):
    broker = await open_broker(MemoryStore(), tmp_path)
    yield broker
    await broker.close()


@pytest.fixture(params=["memory", "sqlite"])
async def broker(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "jobs.db")
    broker = await open_broker(store, tmp_path)
    yield broker
    await broker.close()


@pytest.fixture
async def hands(broker):
    hands = Hands(broker)
    await hands.attach()
    return hands


@pytest.fixture
async def serve(broker):
    """Start servers over the broker; options of the frontend are keywords."""
    async with AsyncExitStack() as stack:

        async def start(keys=(), limits=None, port=0, **options):
            options = {"body_limit": 100_000, "artifact_limit": 1_000_000, **options}
            app = create_app(broker, OgcOptions(**options), Authenticator(keys))
            server = Server(app, ServerOptions(port=port, stop_seconds=1, limits=limits or Limits()))
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def server(serve):
    return await serve()


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
        yield client


def api_key(name, tenant, *scopes):
    digest = hashlib.sha256(f"secret-{name}".encode()).hexdigest()
    return ApiKey(name=name, tenant=tenant, scopes=frozenset(Scope(scope) for scope in scopes), sha256=digest)


@pytest.fixture
def keys():
    return [
        api_key("ann", "a", "submit", "read-own"),
        api_key("bob", "b", "submit", "read-own"),
        api_key("eve", "a", "read-all"),
        api_key("worker", "", "work"),
        api_key("root", "", "admin"),
        api_key("nobody", "a"),
    ]


@pytest.fixture
def submit(http):
    """Submit a job asynchronously; return its id."""

    async def send(kind="add", inputs=None, **members):
        inputs = {"a": 1} if inputs is None else inputs
        body = {"inputs": inputs, **members}
        response = await http.post(f"/processes/{kind}/execution", json=body, headers={"prefer": "respond-async"})
        assert response.status_code == 201, response.text
        return response.json()["jobID"]

    return send


@pytest.fixture
def soon():
    """Bound a wait, so that a test that would hang fails."""
    return lambda awaitable: asyncio.wait_for(awaitable, 10)
