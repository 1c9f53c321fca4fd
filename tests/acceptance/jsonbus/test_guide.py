"""The guide about RabbitMQ: its permissions and policies on a real one, its tables of configuration."""

import asyncio
import re
import shlex
from pathlib import Path

import httpx
import pika.exceptions
import pytest
from servers import Server, running

from crossdock.config import load
from crossdock.protocols.jsonbus import names
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.letters import letter
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.messages import Job, Notification, Result
from crossdock.protocols.jsonbus.topology import JOBS, Queue, own_queue

from .php_peer import Client, RabbitQueue, Worker, connected

PAGE = (Path(__file__).parents[3] / "docs/guides/rabbitmq.md").read_text()
JOB = Job(id="j1", task_id="t1", create_time="2026-11-22T17:01:45Z", status="new", attempt=1)


def commands(block: str) -> list[str]:
    return [line for text in re.findall(rf"```{block}\n(.*?)\n```", PAGE, re.DOTALL) for line in text.splitlines()]


@pytest.fixture
def users(vhost):
    """Do what the guide says; return the URL of every user it adds. Names are this test's own."""
    urls: dict[str, str] = {}
    for command in commands("text operator"):
        program, *words = shlex.split(command)
        assert program == "rabbitmqctl"
        if words[0] == "add_vhost":
            continue
        words = [vhost.name if word == "work" else word for word in words]
        if words[0] in ("add_user", "set_permissions"):
            user = words[1 if words[0] == "add_user" else 3]
            words[words.index(user)] = f"{user}.{vhost.name}"
            urls[user] = vhost.url_of(f"{user}.{vhost.name}", "secret")
        vhost.rabbit.control(*words)
    return urls


@pytest.fixture
async def node(users):
    """A connection as a node named images has it, with the backends scan and fast."""
    connection = Connection(ConnectionOptions(url=users["crossdock"]))
    for queue, key in (
        (names.requests_queue("images"), "requests"),
        (names.answers_queue("images"), names.notify_key("images")),
        (names.results_queue("scan"), names.results_key("scan")),
        (names.results_queue("fast"), names.results_key("fast")),
    ):
        connection.require(own_queue(queue, key))
    connection.require(own_queue(names.jobs_queue("fast"), names.jobs_key("fast"), exchange=JOBS))
    await connection.start()
    yield connection
    await connection.close()


async def inbox(connection: Connection, queue: str) -> asyncio.Queue:
    came = asyncio.Queue()

    def receive(delivery) -> None:
        delivery.accept()
        came.put_nowait(delivery)

    connection.consume(queue, receive, prefetch=10)
    return came


async def test_a_client_of_php_has_the_permissions_it_needs(users, node):
    requests = await inbox(node, names.requests_queue("images"))
    with Client(users["web-1"], "web-1") as client:
        client.ask("thumbnail", {"width": 120}, id="r1")
        async with asyncio.timeout(20):
            assert decode((await requests.get()).body).id == "r1"
        answer = Notification(request_id="r1", status="success", message="done")
        await node.publish(letter(answer, "web-1_notify"))
        await node.publish(letter(answer, "web-1_notify", exchange=""))
        assert len(await asyncio.to_thread(client.answers, 2)) == 2


async def test_workers_have_the_permissions_they_need(users, node):
    scanned = await inbox(node, names.results_queue("scan"))
    rendered = await inbox(node, names.results_queue("fast"))
    own = Connection(ConnectionOptions(url=users["fast-1"]))
    own.require([Queue(name=names.jobs_queue("fast"), passive=True)])
    jobs = await inbox(own, names.jobs_queue("fast"))
    await own.start()
    try:
        with Worker(users["scan-1"], "scan", lambda job: job["id"]):
            await node.publish(letter(JOB, names.jobs_key("scan")))
            async with asyncio.timeout(20):
                assert decode((await scanned.get()).body).job.attempt == 1
        await node.publish(letter(JOB, names.jobs_key("fast"), exchange=JOBS))
        async with asyncio.timeout(20):
            job = decode((await jobs.get()).body)
            await own.publish(letter(Result(job=job, data=b"1"), names.results_key("fast")))
            assert decode((await rendered.get()).body).data == b"1"
    finally:
        await own.close()


def test_a_client_reads_nothing_but_its_answers(users, vhost, node):
    with connected(vhost.url) as channel:
        for queue in ("web-2_notify", "scan_jobs"):
            channel.queue_declare(queue, durable=True, auto_delete=True)
        for queue in ("web-2_notify", "svc.images.requests", "scan_jobs"):
            with connected(users["web-1"]) as other, pytest.raises(pika.exceptions.ChannelClosedByBroker, match="REFUSED"):
                other.basic_get(queue)


def test_policies_are_for_these_queues_and_no_others(users, vhost, node):
    with connected(vhost.url) as channel:
        for copy in ("requests", "images_notify", "scan_results"):
            for _ in range(3):
                RabbitQueue(channel, copy).push({"type": "request"})
        RabbitQueue(channel, "web-1_notify").push({"type": "notification"})
        assert [channel.basic_get(copy)[0] for copy in ("requests", "images_notify", "scan_results")] == [None, None, None]
        assert channel.basic_get("web-1_notify")[0] is not None
        policies = {queue: row[0] for queue, row in vhost.queues("policy").items()}
    assert {queue for queue, policy in policies.items() if policy == "copies"} == {
        "requests",
        "images_notify",
        "scan_results",
    }
    ours = {queue for queue in policies if queue.startswith("svc.") and not queue.endswith(".dead")}
    assert len(ours) == 5
    assert {queue for queue, policy in policies.items() if policy == "crossdock"} == ours


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL), ids=lambda block: block.splitlines()[0])
def test_the_configuration_is_sound(block, tmp_path):
    file = tmp_path / "crossdock.toml"
    file.write_text(block)
    config = load(file, environ={})
    assert config.jsonbus is not None
    assert config.jsonbus.node == "images"


def test_the_guides_node_answers_the_guides_client_and_one_of_php(users, tmp_path, capsys):
    for name in ("app.py", "crossdock.toml"):
        [text] = [block for block in re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL) if block.startswith(f"# {name}\n")]
        url = f'"{users["crossdock"]}"'
        (tmp_path / name).write_text(re.sub(r'"amqp://.*?"', url, text))
    [client] = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "JsonbusClient" in block]
    with running(Server("app.py:app", tmp_path / "data", cwd=tmp_path)) as server:
        exec(re.sub(r'"jsonbus\+amqp://.*?"', f'"jsonbus+{users["web-1"]}"', client), {})
        assert capsys.readouterr().out.splitlines()[-1] == "the bytes of http://example.org/a.jpg, 120 wide"
        with Client(users["web-1"], "web-1") as php:
            answer = php.request("thumbnail", {"url": "http://example.org/b.jpg", "width": 5})
            assert (answer["status"], answer["data"]) == ("success", "the bytes of http://example.org/b.jpg, 5 wide")
        schema = httpx.get(f"{server.url}/schemas/jsonbus/request.json").json()
        assert schema["$id"] == "/schemas/jsonbus/request.json"
