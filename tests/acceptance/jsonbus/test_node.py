"""`crossdock serve` as a json-bus node, with clients made like the PHP library's, a real RabbitMQ, and real kills."""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from servers import Server, running

from acceptance.jsonbus.php_peer import Client, Message, RabbitQueue, connected, encode
from rabbit import Vhost

APP = f"{Path(__file__).with_name('node_app.py')}:app"
KILLS = int(os.environ.get("CROSSDOCK_KILLS", "6"))
PATIENCE = 60.0
DEAD = "svc.crossdock.requests.dead"


@contextmanager
def node_at(vhost: Vhost, folder: Path, *settings: str) -> Iterator[Server]:
    """Have a node run whose queue is there: what PHP publishes before is lost."""
    with running(server := Server(APP, folder / "data", settings=[f"jsonbus.url={vhost.url}", *settings])):
        eventually(lambda: "json-bus node" in server.said(), "the node")
        yield server


@pytest.fixture
def node(vhost: Vhost, tmp_path: Path) -> Iterator[Server]:
    with node_at(vhost, tmp_path) as server:
        yield server


@pytest.fixture
def client(vhost: Vhost) -> Iterator[Client]:
    with Client(vhost.url, "php") as client:
        yield client


def eventually(fact: Callable[[], object], what: str) -> None:
    """Wait for something that nobody tells about."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def logical(answers: list[Message]) -> dict[str, set[str]]:
    """Return the different answers to each request; those that are sent again are the same."""
    found: dict[str, set[str]] = {}
    for answer in answers:
        found.setdefault(answer["requestId"], set()).add(json.dumps(answer, sort_keys=True))
    return found


def test_a_php_client_is_answered(node, client):
    answer = client.request("double", {"n": 21})
    assert (answer["status"], answer["message"], answer["data"]["twice"]) == ("success", "done", 42)


def test_a_failure_is_answered_with_its_code(node, client):
    answer = client.request("refuse")
    assert (answer["status"], answer["message"]) == ("fail", "there is no such picture")
    assert answer["data"] == {"code": "no_picture"}


def test_params_that_do_not_fit_are_answered_with_what_is_wrong(node, client):
    answer = client.request("double", {"n": "many"})
    assert (answer["status"], answer["data"]) == ("fail", {"code": "invalid"})
    assert "n" in answer["message"]


def test_lists_that_php_made_objects_of_are_lists_where_it_is_configured(vhost, tmp_path, client):
    with node_at(vhost, tmp_path, 'jsonbus.lists=["total"]'):
        assert client.request("total", {"numbers": [1, 2, 3]})["data"] == 6


def test_without_the_configuration_they_stay_objects(node, client):
    assert client.request("total", {"numbers": [1, 2, 3]})["status"] == "fail"


def test_a_large_result_is_fetched_from_the_http_server(node, client):
    answer = client.request("text", {"length": 3_000_000})
    assert answer["data"]["size"] == 3_000_002
    assert answer["data"]["resultRef"].startswith(node.url)
    fetched = httpx.get(answer["data"]["resultRef"])
    assert (fetched.status_code, len(fetched.json())) == (200, 3_000_000)
    assert httpx.get(answer["data"]["resultRef"][:-3] + "AAA").status_code == 403
    node.kill()
    node.start()
    assert httpx.get(answer["data"]["resultRef"]).status_code == 200


def test_the_same_id_is_answered_again_and_done_once(node, client):
    for count in (1, 2, 3):
        client.ask("double", {"n": 1}, id="same")
        client.answers(count)
        if count == 2:
            node.kill()
            node.start()
    [answers] = logical(client.heard).values()
    assert len(answers) == 1
    client.ask("double", {"n": 2}, id="same")
    # Not the fourth: after a kill an answer may have come once more.
    eventually(lambda: {"code": "conflict"} in [answer["data"] for answer in client.heard], "the refusal")


def test_a_client_whose_queue_vanished_gets_its_answer_when_it_is_back(node, vhost):
    with Client(vhost.url, "gone") as client:
        asked = client.ask("slow", {"n": 4, "seconds": 1.0})
        eventually(lambda: httpx.get(f"{node.url}/jobs").json()["jobs"], "the job")
    time.sleep(1.5)  # its queue is away when the job ends
    with Client(vhost.url, "gone") as client:
        [answer] = client.answers(1)
    assert (answer["requestId"], answer["data"]["twice"]) == (asked, 8)


def test_requests_wait_in_rabbitmq_while_the_node_is_away(node, client):
    node.kill()
    asked = {client.ask("double", {"n": number}) for number in range(100)}
    node.start()
    assert {answer["requestId"] for answer in client.answers(100)} == asked


POISON = (
    b"",
    b"{",
    b"x" * 10_000_000,
    b"[" * 10_000_000,
    b'{"type":"request","id":"deep","clientId":"php","subject":"double","data":' + b"[" * 600 + b"]" * 600 + b"}",
    b'{"type":"request","id":"\xff","clientId":"php","subject":"double"}',
    b'{"type":"request","id":7,"clientId":[],"subject":{},"params":"x"}',
    encode({"type": "notification", "requestId": "1", "status": "fail", "message": ""}),
    encode({"type": "request", "id": "1", "clientId": "../../etc", "subject": "double"}),
)


def test_poison_is_kept_and_never_stops_the_node(node, vhost, client):
    with connected(vhost.url) as channel:
        for _ in range(3):
            for body in POISON:
                channel.basic_publish("jsonbus", "requests", body)
            assert client.request("double", {"n": 1})["status"] == "success"
        channel.confirm_delivery()
        seen = []
        eventually(lambda: vhost.queues("messages").get(DEAD) == [str(3 * len(POISON))], "all dead letters")
        for method, properties, body in channel.consume(DEAD, auto_ack=True, inactivity_timeout=5):
            assert method is not None
            assert properties.headers["x-reason"]
            assert properties.headers["x-original-key"] == "requests"
            seen.append(body)
            if len(seen) == 3 * len(POISON):
                break
    assert sorted(seen) == sorted(3 * POISON)
    assert node.alive()


def test_poison_in_the_queue_does_not_keep_a_node_from_starting(node, vhost, client):
    node.kill()
    with connected(vhost.url) as channel:
        for body in POISON:
            channel.basic_publish("jsonbus", "requests", body)
    asked = client.ask("double", {"n": 1})
    node.start()
    eventually(lambda: asked in {answer["requestId"] for answer in client.heard}, "the answer")


def test_every_request_has_one_logical_answer_however_often_the_node_is_killed(node, client):
    draw = random.Random(4)
    asked: list[str] = []
    ends = threading.Event()

    def load() -> None:
        while not ends.is_set():
            asked.append(client.ask("double", {"n": len(asked)}))
            if len(asked) % 10 == 0:
                client.ask("double", {"n": len(asked) - 1}, id=asked[-1])  # a repetition of the last one
            time.sleep(0.01)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.05, 1.0))
            node.kill()
            node.start()
    finally:
        ends.set()
        loading.join()
    eventually(lambda: {answer["requestId"] for answer in client.heard} >= set(asked), "all answers")
    assert client.error is None
    answers = logical(client.heard)
    assert answers.keys() == set(asked)
    assert [id_ for id_, different in answers.items() if len(different) > 1] == []


def test_a_restart_of_rabbitmq_loses_no_request_and_no_answer(node, vhost):
    with Client(vhost.url, "php") as client:
        before = {client.ask("slow", {"n": number, "seconds": 2.0}) for number in range(20)}
        eventually(lambda: len(httpx.get(f"{node.url}/jobs").json()["jobs"]) == 20, "the jobs")
        vhost.rabbit.stop()
    time.sleep(2)  # the jobs end meanwhile
    vhost.rabbit.start()
    with Client(vhost.url, "php") as client:
        after = {client.ask("double", {"n": number}) for number in range(20)}
        eventually(lambda: {answer["requestId"] for answer in client.heard} >= before | after, "all answers")
    assert all(len(different) == 1 for different in logical(client.heard).values())


def test_answers_wait_while_rabbitmq_is_short_of_memory(node, vhost, client):
    client.request("double", {"n": 1})
    asked = {client.ask("slow", {"n": number, "seconds": 1.0}) for number in range(10)}
    eventually(lambda: len(httpx.get(f"{node.url}/jobs").json()["jobs"]) == 11, "the jobs")
    vhost.rabbit.alarm(on=True)
    time.sleep(1.5)
    assert len(client.heard) < 11
    vhost.rabbit.alarm(on=False)
    eventually(lambda: {answer["requestId"] for answer in client.heard} >= asked, "all answers")


def test_a_queue_of_php_s_name_that_nobody_reads_is_no_harm(node, vhost, client):
    client.request("double", {"n": 1})
    with connected(vhost.url) as channel:
        assert RabbitQueue(channel, "requests").channel.queue_declare("requests", passive=True).method.message_count > 0
    assert client.request("double", {"n": 2})["status"] == "success"
