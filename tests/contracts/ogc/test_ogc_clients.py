"""Both clients against a real server: the same script for the blocking one and the one for asyncio."""

import asyncio
import contextlib
import inspect

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.ogc.async_client import AsyncClient
from crossdock.protocols.ogc.calls import JobFailedError
from crossdock.protocols.ogc.client import Client


class Blocking:
    """The blocking client in threads, with the face of the other."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return lambda *given, **named: asyncio.to_thread(getattr(self._client, name), *given, **named)

    async def watch(self, identifier, **named):
        events = self._client.watch(identifier, **named)
        while (entry := await asyncio.to_thread(next, events, None)) is not None:
            yield entry


@pytest.fixture(params=["blocking", "asyncio"])
async def connect(request):
    async with contextlib.AsyncExitStack() as stack:

        async def start(url, key=None):
            if request.param == "asyncio":
                return await stack.enter_async_context(AsyncClient(url, key))
            return Blocking(stack.enter_context(Client(url, key)))

        yield start


@pytest.fixture
def broker(memory_broker):
    return memory_broker


@pytest.fixture
async def client(connect, server):
    return await connect(server.url)


def test_both_have_the_same_verbs():
    def verbs(kind):
        return {
            name: [parameter for parameter in inspect.signature(value).parameters if parameter != "pause"]
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }

    assert verbs(Client) == verbs(AsyncClient)


async def test_a_job_from_submit_to_result(client, hands):
    assert [process.id for process in await client.processes()] == ["add", "checked", "echo"]
    job = await client.submit("add", {"a": 1}, priority=3)
    assert (job.status, job.crossdock.priority) == ("accepted", 3)
    lease = await hands.succeed(7)
    assert lease.payload == b'{"a":1}'
    assert (await client.job(job.job_id)).status == "successful"
    assert await client.result(job.job_id) == 7


@pytest.mark.parametrize("value", [None, 5, [], {"payload": 1}, {"a": {}}])
async def test_raw_kinds_take_any_value(client, hands, value):
    job = await client.submit("echo", value)
    await hands.succeed(value)
    assert await client.result(job.job_id) == value


async def test_a_failed_job(client, hands):
    job = await client.submit("add")
    await hands.fail("boom", "it broke")
    with pytest.raises(JobFailedError, match="it broke") as caught:
        await client.result(job.job_id)
    assert (caught.value.job_code, caught.value.outcome) == ("boom", "failed")
    again = await client.retry(job.job_id)
    assert again.crossdock.retry_of == job.job_id
    assert (await client.cancel(again.job_id)).status == "dismissed"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.submit("none", {}), Code.NOT_FOUND),
        (lambda client: client.submit("checked", {"a": "x"}), Code.INVALID),
        (lambda client: client.submit("add", {}, after=["x"]), Code.INVALID),
        (lambda client: client.job("nothing"), Code.NOT_FOUND),
        (lambda client: client.job("../../x y?z#ü"), Code.NOT_FOUND),
        (lambda client: client.result("nothing"), Code.NOT_FOUND),
        (lambda client: client.cancel("nothing"), Code.NOT_FOUND),
        (lambda client: client.retry("nothing"), Code.NOT_FOUND),
        (lambda client: client.drain("nobody"), Code.NOT_FOUND),
        (lambda client: client.jobs(status="asleep"), Code.INVALID),
        (lambda client: client.submit("echo", "x" * 200_000), Code.TOO_LARGE),
        (lambda client: client.submit_batch([]), Code.INVALID),
    ],
)
async def test_errors_are_those_of_the_broker(client, call, code):
    with pytest.raises(CrossdockError) as caught:
        await call(client)
    assert caught.value.code is code


async def test_arrays_and_batches(client, hands):
    job = await client.submit_array("add", {"stop": 3, "as": "b"}, {"a": 1})
    chunks = await hands.take_members()
    await chunks.report({0: 0, 1: ValueError("no"), 2: 2})
    assert [member.message for member in await client.members(job.job_id, "failed")] == ["no"]
    assert len(await client.members(job.job_id)) == 3
    batch = await client.submit_batch([("add", {"a": 1}, {"key": "k"}), ("echo", [1], {})])
    assert batch.members.total == 2
    assert {job.job_id for job in await client.jobs(batch=batch.batch_id)} == {job.job_id for job in batch.jobs}


async def test_lists_go_over_pages(client):
    jobs = [await client.submit("add", {"a": index}) for index in range(5)]
    assert [job.job_id for job in await client.jobs(limit=4)] == [job.job_id for job in jobs[:0:-1]]
    assert [job.job_id for job in await client.jobs(processID="add", status="failed")] == []


async def test_pages_of_a_thousand(client, http):
    item = {"process": "add"}
    await http.post("/batches", json={"jobs": [item] * 1100})
    assert len(await client.jobs(limit=1050)) == 1050


async def test_workers(client, hands):
    assert [worker.id for worker in await client.workers()] == ["local/hands"]
    await client.drain("local/hands")
    assert (await client.workers())[0].draining
    assert hands


async def test_watching(client, hands):
    job = await client.submit("add")
    events = client.watch(job.job_id)
    assert (await anext(events)).event == "submitted"
    lease = await hands.take()
    assert (await anext(events)).event == "leased"
    await hands.progress(lease, 1, 2, "half")
    entry = await anext(events)
    assert (entry.event, entry.data) == ("progress", {"done": 1, "total": 2, "message": "half"})
    await hands.succeed(1, lease)
    assert [entry.event async for entry in events] == ["succeeded"]
    assert [entry.event async for entry in client.watch(job.job_id)] == ["submitted", "leased", "progress", "succeeded"]


async def test_watching_goes_on_where_the_connection_broke(connect, serve, hands, submit, monkeypatch):
    for module in ("client", "async_client"):
        monkeypatch.setattr(f"crossdock.protocols.ogc.{module}.RECONNECT", 0.01)
    first = await serve()
    client = await connect(first.url)
    job = await submit()
    events = client.watch(job)
    assert (await anext(events)).event == "submitted"
    await first.stop()
    await hands.succeed(1)
    rest = asyncio.create_task(_rest(events))
    second = await serve(port=first.port)
    assert second.port == first.port
    assert await rest == [(1, "leased"), (2, "succeeded")]


async def _rest(events):
    return [(entry.offset, entry.event) async for entry in events]


async def test_watching_gives_up(connect, server):
    client = await connect(server.url)
    job = await client.submit("add")
    await server.stop()
    with pytest.raises(CrossdockError) as caught:
        await _rest(client.watch(job.job_id, patience=0))
    assert caught.value.code is Code.UNAVAILABLE


async def test_watching_what_is_not_there(client):
    with pytest.raises(CrossdockError) as caught:
        await _rest(client.watch("nothing"))
    assert caught.value.code is Code.NOT_FOUND


async def test_a_server_that_is_not_there(connect):
    client = await connect("http://127.0.0.1:1")
    with pytest.raises(CrossdockError, match=r"http://127\.0\.0\.1:1 cannot be reached") as caught:
        await client.processes()
    assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("url", ["nonsense", "http://[", "http://x:99999999"])
async def test_an_address_that_is_none(connect, url):
    with pytest.raises(CrossdockError):
        await (await connect(url)).processes()


async def test_keys(connect, serve, keys):
    server = await serve(keys=keys)
    ann = await connect(server.url, "secret-ann")
    assert (await ann.submit("add", {"a": 1})).crossdock.tenant == "a"
    for key in (None, "secret-x"):
        with pytest.raises(CrossdockError) as caught:
            await (await connect(server.url, key)).processes()
        assert caught.value.code is Code.UNAUTHORIZED


async def test_something_else_is_listening(connect):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = await connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(CrossdockError, match="cannot be understood"):
        await client.processes()
    server.close()


async def test_bytes_for_a_payload_and_of_a_result(client):
    ref = await client.upload(b"PK\3\4", "application/zip")
    assert (ref.size, ref.media_type) == (4, "application/zip")
    assert await client.download(ref) == b"PK\3\4"
    with pytest.raises(CrossdockError) as caught:
        await client.download(type(ref)("0" * 64, 1))
    assert caught.value.code is Code.NOT_FOUND
