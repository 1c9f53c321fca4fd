"""The client, for asyncio and blocking, and `crossdock submit`, against nodes of ours and as PHP makes them."""

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import CROSSDOCK, Server, free_port, running

from acceptance.jsonbus.php_peer import Node, Worker
from acceptance.jsonbus.worker_site import APP, Held, eventually
from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.client import AsyncJsonbusClient, JsonbusClient, RequestFailedError
from rabbit import Vhost

PATIENCE = 60.0


@pytest.fixture
def node(vhost: Vhost, tmp_path: Path) -> Iterator[Server]:
    """A node of ours."""
    with running(Server(APP, tmp_path / "data", settings=[f"jsonbus.url={vhost.url}", "jsonbus.inline=1000"])) as server:
        eventually(lambda: "json-bus node crossdock at" in server.said(), "the node's door opens")
        yield server


@pytest.fixture
def url(vhost: Vhost) -> str:
    return f"jsonbus+{vhost.url}"


def submit(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [CROSSDOCK, "submit", *arguments, "--server", url, "--wait"]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_threads_share_a_client(node: Server, url: str):
    with JsonbusClient(url) as client, ThreadPoolExecutor(8) as pool:
        work = [pool.submit(client.request, "total", {"numbers": [n, 1]}, timeout=PATIENCE) for n in range(40)]
        assert [one.result().data for one in work] == [n + 1 for n in range(40)]


async def test_tasks_share_a_client(node: Server, url: str):
    async with AsyncJsonbusClient(url) as client:
        work = [client.request("echo", {"words": n}, [n], timeout=PATIENCE) for n in range(100)]
        assert [one.data for one in await asyncio.gather(*work)] == [{"words": n, "data": [n]} for n in range(100)]


def test_a_large_result_is_fetched_from_where_it_lies(node: Server, url: str):
    words = "ä" * 500_000
    with JsonbusClient(url) as client:
        assert client.request("echo", {"words": words}, timeout=PATIENCE).data == {"words": words, "data": None}
    with JsonbusClient(url, largest=1000) as client, pytest.raises(CrossdockError) as caught:
        client.request("echo", {"words": words}, timeout=PATIENCE)
    assert caught.value.code is Code.TOO_LARGE


def test_a_failure_is_raised(node: Server, url: str):
    with JsonbusClient(url) as client, pytest.raises(RequestFailedError) as caught:
        client.request("refuse", timeout=PATIENCE, id="mine")
    assert "there is no such picture" in caught.value.message
    assert caught.value.request_id == "mine"


def test_the_same_id_gets_the_same_answer_from_memory(node: Server, url: str, tmp_path: Path):
    held = Held(tmp_path / "held")
    held.enough("a")
    with JsonbusClient(url, "me") as client:
        first = client.request("hold", held.params("a"), timeout=PATIENCE, id="once")
        assert client.request("hold", held.params("a"), timeout=PATIENCE, id="once") == first
    assert len(held.runs("a")) == 1


def test_an_answer_that_takes_too_long_can_be_asked_for_again(node: Server, url: str, tmp_path: Path):
    held = Held(tmp_path / "held")
    with JsonbusClient(url, "me") as client:
        with pytest.raises(TimeoutError, match=r"no answer to the request late in 0\.5 s; the same id asks for it again"):
            client.request("hold", held.params("a"), timeout=0.5, id="late")
        held.enough("a")
        assert client.request("hold", held.params("a"), timeout=PATIENCE, id="late").data["attempt"] == 1
    assert len(held.runs("a")) == 1


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_rabbitmq_is_started_anew_while_requests_wait(node: Server, url: str, vhost: Vhost, tmp_path: Path, end: str):
    held = Held(tmp_path / "held")
    names = [f"r{n}" for n in range(2)]
    answers: dict[str, list[object]] = {name: [] for name in names}
    with JsonbusClient(url) as client:

        def ask(name: str) -> None:
            answers[name].append(client.request("hold", held.params(name), timeout=PATIENCE).data)

        threads = [threading.Thread(target=ask, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for name in names:
            held.begun(name)
        getattr(vhost.rabbit, end)()
        held.enough(names[0])
        vhost.rabbit.start()
        held.enough(names[1])
        for thread in threads:
            thread.join(PATIENCE)
    assert answers == {name: [{"name": name, "attempt": 1}] for name in names}
    assert all(len(held.runs(name)) == 1 for name in names)


async def test_a_node_as_php_makes_it(vhost: Vhost, url: str):
    with Node(vhost.url, "thumbs", "thumbs_request"), Worker(vhost.url, "thumbs", lambda job: {"got": [job["params"], 1.0]}):
        async with AsyncJsonbusClient(f"{url}?node=thumbs", lists=True) as client:
            reply = await client.request("any", {"sizes": [1, 2]}, timeout=PATIENCE)
        assert (reply.message, reply.data) == ("done", {"got": [{"sizes": [1, 2]}, 1]})
        async with AsyncJsonbusClient(url, request_key="thumbs_request") as client:
            reply = await client.request("any", {"sizes": [1, 2]}, timeout=PATIENCE)
        assert reply.data == {"got": {"0": {"sizes": {"0": 1, "1": 2}}, "1": 1}}


def test_its_queue_is_gone_with_the_client(node: Server, url: str, vhost: Vhost):
    with JsonbusClient(url, "me") as client:
        client.request("echo", timeout=PATIENCE)
        assert "me_notify" in vhost.queues()
    assert "me_notify" not in vhost.queues()


def test_nobody_takes_requests(vhost: Vhost, url: str):
    with JsonbusClient(url) as client, pytest.raises(CrossdockError, match="nobody takes requests under the key 'requests'"):
        client.request("echo", timeout=PATIENCE)


def test_a_broker_that_is_not_there_and_a_closed_client():
    client = JsonbusClient(f"jsonbus+amqp://127.0.0.1:{free_port()}/")
    with client, pytest.raises(CrossdockError) as caught:
        client.request("echo", timeout=PATIENCE)
    assert caught.value.code is Code.UNAVAILABLE
    with pytest.raises(CrossdockError, match="the client was closed"):
        client.request("echo")


def test_submit_prints_the_result(node: Server, url: str):
    done = submit(url, "total", "--params", '{"numbers": [20, 22]}')
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
    done = submit(url, "echo", "--params", '{"words": "' + "x" * 2000 + '"}', "--json")
    answer = json.loads(done.stdout)
    assert (answer["status"], len(answer["data"]["words"])) == ("success", 2000)


def test_submit_says_what_failed_with_its_exit_code(node: Server, url: str):
    done = submit(url, "refuse", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "fail"
    assert "refuse failed: " in done.stderr
    for server, code, says in [
        (f"{url}?node=unheard", 3, "nobody takes requests under the key 'unheard_request'"),
        (f"jsonbus+amqp://127.0.0.1:{free_port()}/", 3, "127.0.0.1"),
        (url.replace("guest:guest", "guest:mistyped"), 2, "guest"),
    ]:
        done = submit(server, "echo")
        assert (done.returncode, done.stdout) == (code, "")
        assert says in done.stderr
        assert "mistyped" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
