"""`crossdock worker` behind a node as the PHP library makes it, on a real RabbitMQ, with real kills."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.jsonbus.php_peer import Client, Node, RabbitQueue, arrays, connected
from acceptance.jsonbus.worker_site import Site, eventually, site_at
from rabbit import Vhost

NODE = "thumbs"


@pytest.fixture
def site(vhost: Vhost, tmp_path: Path) -> Iterator[Site]:
    with site_at(vhost, tmp_path) as site:
        yield site


@pytest.fixture
def client(vhost: Vhost) -> Iterator[Client]:
    with Client(vhost.url, "php") as client:
        yield client


def test_a_request_goes_all_the_way_and_lists_survive_php(site: Site, vhost: Vhost, client: Client):
    site.worker(NODE, parameters="&lists=yes")
    with Node(vhost.url, NODE, subject="total", odd=["kept", {"as": "it is"}]) as node:
        answer = client.request("anything", {"numbers": [1, 2, 39]})
        assert (answer["status"], answer["data"]) == ("success", 42)
        (result,) = node.results
    assert arrays(result["job"]["odd"]) == ["kept", {"as": "it is"}]
    assert result["job"]["createTime"] == "22-11-2026 17:01:45"
    assert result["job"]["status"] == "success"


@pytest.mark.parametrize(
    ("subject", "code"),
    [("refuse", "no_picture"), ("brief", "timeout"), ("unheard", "unknown_kind"), (None, "unknown_kind")],
)
def test_failures_are_answered(site: Site, vhost: Vhost, client: Client, subject: str | None, code: str):
    site.worker(NODE)
    with Node(vhost.url, NODE, **({} if subject is None else {"subject": subject})):
        answer = client.request("anything", {})
    assert (answer["status"], answer["data"]["code"]) == ("fail", code)


def test_data_and_the_kind_of_the_address(site: Site, vhost: Vhost, client: Client):
    site.worker(NODE, parameters="&kind=echo")
    with Node(vhost.url, NODE):
        answer = client.request("anything", {"words": "ä/\u2028"}, data={"a": [1]})
    assert answer["data"] == {"words": "ä/\u2028", "data": {"a": {"0": 1}}}


def test_a_worker_killed_with_a_job_in_its_hands_leaves_it_to_another(site: Site, vhost: Vhost, client: Client):
    site.worker(NODE)
    site.worker(NODE)
    with Node(vhost.url, NODE, subject="hold") as node:
        client.ask("anything", site.held.params("a"))
        first = site.held.begun("a")
        site.workers[first].kill()
        second = site.held.begun("a", 2)
        assert second != first
        site.held.enough("a")
        (answer,) = client.answers(1)
        assert answer["status"] == "success"
        assert len(node.results) == 1


def test_a_drained_worker_ends_its_job_and_leaves_the_others(site: Site, vhost: Vhost, client: Client):
    old = site.worker(NODE)
    with Node(vhost.url, NODE, subject="hold"):
        client.ask("anything", site.held.params("a"))
        assert site.held.begun("a") == old.pid
        new = site.worker(NODE)
        site.drain(old)
        eventually(lambda: site.consumers() == 1, "the old worker leaves the queue")
        client.ask("anything", site.held.params("b"))
        assert site.held.begun("b") == new.pid
        site.held.enough("b")
        site.held.enough("a")
        answers = client.answers(2)
        assert site.drained(old) == 0
    assert {answer["data"]["name"] for answer in answers} == {"a", "b"}
    assert len(site.held.runs("a")) == len(site.held.runs("b")) == 1


def test_a_job_goes_on_while_rabbitmq_is_started_anew(site: Site, vhost: Vhost):
    site.worker(NODE, "--slots", "2")
    with connected(vhost.url) as channel:
        jobs = RabbitQueue(channel, f"{NODE}_jobs")
        RabbitQueue(channel, f"{NODE}_results")
        jobs.push(
            {"id": "a", "taskId": "t", "createTime": "", "status": "new", "subject": "hold", "type": "job"} | held(site)
        )
    site.held.begun("a")
    vhost.rabbit.kill()
    vhost.rabbit.start()
    eventually(lambda: site.consumers() == 1, "the worker is back")
    site.held.enough("a")
    with connected(vhost.url) as channel:
        found: list[bytes] = []

        def came() -> bool:
            body = channel.basic_get(f"{NODE}_results", auto_ack=True)[2]
            if body is not None:
                found.append(body)
            return bool(found)

        RabbitQueue(channel, f"{NODE}_results")
        eventually(came, "the result")
    assert b'"success"' in found[0]
    assert len(site.held.runs("a")) == 1


def held(site: Site) -> dict[str, object]:
    return {"params": site.held.params("a")}
