"""A whole ReCodEx server: both doors, the monitor, the feed, the notifier and the file server, and peers on all of them."""

import asyncio
import contextlib
import json
from contextlib import AsyncExitStack
from operator import attrgetter

import httpx
import pytest
import zmq
import zmq.asyncio
from starlette.routing import Router
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from contracts.recodex.doors_scene import ANY_PORT, PATIENCE, scene_at
from crossdock.core.identifiers import encode_id
from crossdock.core.lifecycle import State
from crossdock.core.requests import Submit
from crossdock.http.egress import Egress
from crossdock.http.server import Server, ServerOptions
from crossdock.http.shield import Shield
from crossdock.protocols.recodex.files import FileServer, FilesOptions
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.monitor import Feed, Monitor, MonitorOptions, resolver
from crossdock.protocols.recodex.notifier import Notifier, NotifierOptions
from crossdock.protocols.recodex.options import RecodexOptions

AUTH = ("worker", "secret")
FINISHED = '{"command": "FINISHED"}'


class House:
    """Everything that a server with a table [recodex] runs."""

    def __init__(self, scene, monitor, files, feed, server):
        self.scene = scene
        self.monitor = monitor
        self.files = files
        self.feed = feed
        self.url = server.url
        self.told = asyncio.Queue()

    async def listen(self, stack, channel):
        page = await stack.enter_async_context(connect(f"ws://127.0.0.1:{self.monitor.port}"))
        await page.send(channel)
        return page


async def heard(page):
    """Return the commands until the server closes."""
    commands = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            commands.append(json.loads(await asyncio.wait_for(page.recv(), PATIENCE))["command"])
    assert page.close_code == 1000
    return commands


async def application(house, stack):
    """Start the web application that is told how jobs ended; return its address."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
                body = await reader.readexactly(int(headers["content-length"]))
                await house.told.put((head.split()[1], body))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stack.callback(server.close)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def other_monitor(stack):
    """The original monitor's socket."""
    context = zmq.asyncio.Context()
    stack.callback(context.term)
    socket = context.socket(zmq.ROUTER)
    stack.callback(socket.close, 0)
    socket.setsockopt(zmq.IDENTITY, b"recodex-monitor")
    socket.bind("tcp://127.0.0.1:*")
    return socket


@pytest.fixture
async def house(tmp_path, stack, other_monitor):
    parts = {}

    def later(part, name):
        def call(*arguments):
            return attrgetter(name)(parts[part])(*arguments)

        return call

    hooks = Hooks(
        raw=later("monitor", "hub.raw"),
        feed=later("feed", "feed"),
        publish=later("files", "publish"),
        collect=later("files", "collect"),
    )
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, ping_interval=0.5)
    scene = await stack.enter_async_context(scene_at(tmp_path, options, hooks))
    broker = scene.broker
    files = parts["files"] = FileServer(
        FilesOptions(username=AUTH[0], password=AUTH[1]), broker.records, broker.artifacts, broker.clock
    )
    server = Server(Shield(Router(files.routes())), ServerOptions(port=0, stop_seconds=1))
    await server.start()
    stack.push_async_callback(server.stop)
    files.base_url = server.url
    monitor = parts["monitor"] = Monitor(MonitorOptions(port=0), broker.intake, resolver(broker.records))
    await monitor.start()
    stack.push_async_callback(monitor.stop)
    feed = parts["feed"] = Feed(other_monitor.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0"))
    feed.start()
    stack.callback(feed.stop)
    house = House(scene, monitor, files, feed, server)
    url = await application(house, stack)
    egress = Egress(private=True)
    notifier = Notifier(NotifierOptions(url=url), broker.intake, broker.outbox, broker.artifacts, egress, feed.feed)
    telling = asyncio.create_task(notifier.run())

    async def hush():
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    stack.push_async_callback(hush)
    return house


async def test_an_evaluation_from_the_archive_to_the_browser(house, stack, other_monitor):
    worker, client = await house.scene.ready_worker(), house.scene.client()
    page = await house.listen(stack, "student_1")
    async with httpx.AsyncClient(base_url=house.url, auth=AUTH) as http:
        made = (await http.post("/submissions/student_1", files={"job-config.yml": b"submission: {}\n"})).json()
        urls = [house.url + made["archive_path"], house.url + made["result_path"]]
        assert await client.eval("student_1", "hwgroup=group1", urls=urls) == ["accept"]
        assert await worker.job() == ["eval", "student_1", *urls]
        assert (await http.get(urls[0])).content.startswith(b"PK")
        for words in (("DOWNLOADED",), ("STARTED",), ("TASK", "t", "COMPLETED"), ("ENDED",)):
            await worker.say("progress", "student_1", *words)
        assert (await http.put(urls[1], content=b"PK results")).status_code == 200
        # The end overtakes the last progress, as it does with real workers.
        await worker.say("done", "student_1", "OK", "")
        await worker.say("progress", "student_1", "UPLOADED")
        await worker.say("progress", "student_1", "FINISHED")
        assert await heard(page) == ["DOWNLOADED", "STARTED", "TASK", "ENDED", "UPLOADED", "FINISHED"]
        assert await asyncio.wait_for(house.told.get(), PATIENCE) == ("/job-status/student_1", b"status=OK")
        assert (await http.get("/worker-files/result/student/1")).content == b"PK results"
    fed = []
    while not fed or fed[-1] != [b"student_1", b"FINISHED"]:
        fed.append((await asyncio.wait_for(other_monitor.recv_multipart(), PATIENCE))[1:])
    assert fed[-3:-1] == [[b"student_1", b"ENDED"], [b"student_1", b"UPLOADED"]]


async def test_a_rejected_job(house, stack):
    page = await house.listen(stack, "student_2")
    assert (await house.scene.client().eval("student_2", "hwgroup=nobody"))[0] == "reject"
    assert await heard(page) == ["FAILED", "FINISHED"]


async def test_a_failed_job(house, stack):
    worker, client = await house.scene.ready_worker(), house.scene.client()
    await client.eval("student_3", "hwgroup=group1")
    page = await house.listen(stack, "student_3")
    await worker.job()
    await worker.say("progress", "student_3", "FAILED")
    await worker.say("done", "student_3", "FAILED", "why & how")
    await worker.say("progress", "student_3", "FINISHED")
    assert await heard(page) == ["FAILED", "FINISHED"]
    assert await asyncio.wait_for(house.told.get(), PATIENCE) == (
        "/job-status/student_3",
        b"message=why+%26+how&status=FAILED",
    )


async def test_a_worker_that_dies(house, stack):
    first, client = await house.scene.ready_worker(), house.scene.client()
    await client.eval("student_4", "hwgroup=group1")
    page = await house.listen(stack, "student_4")
    await first.job()
    await first.say("progress", "student_4", "STARTED")
    first.close()
    second = house.scene.worker()
    await second.say("init", "group1")
    async with asyncio.timeout(PATIENCE):
        answer = ["pong"]
        while answer == ["pong"]:  # who says nothing would be lost too
            await second.say("ping")
            if await second.socket.poll(100):
                answer = await second.hear()
    assert answer == ["eval", "student_4", "http://a/1.zip", "http://r/1"]
    await second.say("progress", "student_4", "STARTED")
    await second.say("done", "student_4", "OK", "")
    assert await heard(page) == ["STARTED", "ABORTED", "STARTED", "FINISHED"]
    assert await asyncio.wait_for(house.told.get(), PATIENCE) == ("/job-status/student_4", b"status=OK")


async def test_an_evaluation_of_another_protocol_at_a_plain_worker(house, stack):
    worker, broker = await house.scene.ready_worker(), house.scene.broker
    ref = await broker.artifacts.put(b"PK submission", "application/zip")
    payload = {"submission": {"digest": ref.digest, "size": ref.size, "media_type": ref.media_type}}
    job = (await broker.intake.submit(Submit(kind="evaluation", payload=json.dumps(payload).encode()))).job
    name = encode_id(job.id)
    page = await house.listen(stack, name)
    command, told, archive, result = await worker.job()
    assert (command, told) == ("eval", name)
    async with httpx.AsyncClient(auth=AUTH) as http:
        assert (await http.get(archive)).content == b"PK submission"
        await worker.say("progress", name, "TASK", "t", "FAILED")
        assert (await http.put(result, content=b"PK results")).status_code == 200
    await worker.say("progress", name, "FINISHED")
    await worker.say("done", name, "OK", "")
    assert await heard(page) == ["TASK", "FINISHED"]
    [job] = await house.scene.ended()
    assert job.state is State.SUCCEEDED
    archive = json.loads(job.result)["archive"]
    ref = await broker.artifacts.put(b"PK results", "application/zip")
    assert archive["digest"] == ref.digest


async def test_another_monitor_hears_of_ends_that_no_worker_tells(house, other_monitor):
    worker, client, intake = await house.scene.ready_worker(), house.scene.client(), house.scene.broker.intake
    assert await client.eval("probe", "hwgroup=group1") == ["accept"]
    await worker.job()
    fed = []

    async def told(*message):
        async with asyncio.timeout(PATIENCE):
            while [text.encode() for text in message] not in fed:
                fed.append((await other_monitor.recv_multipart())[1:])

    async with asyncio.timeout(PATIENCE):
        while not house.feed.sent:  # the first words are lost until it is connected
            await worker.say("progress", "probe", "STARTED")
            await asyncio.sleep(0.05)
    await worker.say("progress", "probe", "FINISHED")
    await worker.say("done", "probe", "OK", "")
    await told("probe", "FINISHED")
    await client.eval("silent", "hwgroup=group1")
    await worker.job()
    await worker.say("done", "silent", "FAILED", "why")
    await told("silent", "FINISHED")
    await client.eval("dropped", "hwgroup=group1")
    await worker.job()
    known = (await house.scene.jobs())[-1]
    await intake.cancel(known.id, "hard")
    await told("dropped", "FINISHED")
    assert [message for message in fed if message[0] == b"silent"] == [[b"silent", b"FAILED"], [b"silent", b"FINISHED"]]
    assert [message[1] for message in fed if message[0] == b"dropped"] == [b"FAILED", b"FINISHED"]
    assert [message[1] for message in fed if message[0] == b"probe"].count(b"FINISHED") == 1
