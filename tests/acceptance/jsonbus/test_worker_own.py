"""`crossdock worker` behind `crossdock serve`, over quorum queues on a real RabbitMQ: the whole chain, with real kills."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Program, Server, running

from acceptance.jsonbus.php_peer import Client, connected
from acceptance.jsonbus.worker_site import Site, eventually, site_at
from crossdock.protocols.jsonbus.client import JsonbusClient, RequestFailedError
from rabbit import Vhost

PATIENCE = 60.0
BACKEND = "thumbs"
KINDS = ("hold", "total", "echo", "refuse", "brief")


@pytest.fixture
def site(vhost: Vhost, tmp_path: Path) -> Iterator[Site]:
    with site_at(vhost, tmp_path) as site:
        yield site


@pytest.fixture
def node(vhost: Vhost, tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "crossdock.toml").write_text(
        f'[jsonbus]\nurl = "{vhost.url}"\n'
        f'[backends.jsonbus.{BACKEND}]\nworkers = "own"\nkinds = {json.dumps(KINDS)}\nslots = 20\nlease = 30\n'
    )
    with running(Server(None, tmp_path / "data", cwd=tmp_path)) as server:
        eventually(lambda: f"svc.{BACKEND}.results" in vhost.queues(), "the backend's queues")
        yield server


@pytest.fixture
def client(site: Site, node: Program) -> Iterator[JsonbusClient]:
    eventually(lambda: "svc.crossdock.requests" in site.vhost.queues(), "the node's door")
    with JsonbusClient(site.url) as client:
        yield client


def test_the_worker_finds_our_queue(site: Site, client: JsonbusClient):
    worker = site.worker(BACKEND)
    assert client.request("total", {"numbers": [1, 41]}, timeout=PATIENCE).data == 42
    assert client.request("echo", {"words": "ä"}, [1], timeout=PATIENCE).data == {"words": "ä", "data": [1]}
    assert f"jobs come from the queue svc.{BACKEND}.jobs" in worker.said()
    assert "guest:guest" not in worker.said()


def test_what_fails_for_good_is_not_tried_again(site: Site, client: JsonbusClient):
    site.worker(BACKEND)
    with pytest.raises(RequestFailedError, match="there is no such picture"):
        client.request("refuse", timeout=PATIENCE)


def test_workers_killed_with_jobs_in_their_hands_leave_them_to_others(site: Site, node: Program, vhost: Vhost):
    names = [f"j{number}" for number in range(6)]
    with Client(vhost.url, "php") as client:
        for _ in range(2):
            site.worker(BACKEND, "--slots", "3")
        for name in names:
            client.ask("hold", site.held.params(name))
        holders = {name: site.held.begun(name) for name in names}
        victim = holders["j0"]
        site.workers[victim].kill()
        site.worker(BACKEND, "--slots", "3")
        for name in names:
            if holders[name] == victim:
                assert site.held.begun(name, 2) != victim
        for name in names:
            site.held.enough(name)
        answers = client.answers(len(names))
    assert sorted(answer["data"]["name"] for answer in answers) == names
    assert {answer["status"] for answer in answers} == {"success"}
    assert all(len(site.held.runs(name)) == 1 + (holders[name] == victim) for name in names)


def test_a_drained_worker_ends_in_order_while_another_goes_on(
    site: Site, client: JsonbusClient, node: Program, vhost: Vhost
):
    old = site.worker(BACKEND, "--slots", "2")
    with Client(vhost.url, "php") as php:
        php.ask("hold", site.held.params("a"))
        assert site.held.begun("a") == old.pid
        site.drain(old)
        eventually(lambda: "finishing what runs" in old.said(), "the worker drains")
        new = site.worker(BACKEND)
        php.ask("hold", site.held.params("b"))
        assert site.held.begun("b") == new.pid
        site.held.enough("a")
        assert site.drained(old) == 0
        site.held.enough("b")
        assert {answer["status"] for answer in php.answers(2)} == {"success"}
    assert len(site.held.runs("a")) == 1


def test_a_job_goes_on_while_rabbitmq_is_started_anew(site: Site, node: Program, vhost: Vhost):
    site.worker(BACKEND, "--slots", "2")
    with JsonbusClient(site.url, "me") as client:
        with pytest.raises(TimeoutError):
            client.request("hold", site.held.params("a"), timeout=2, id="r")
        site.held.begun("a")
        vhost.rabbit.restart()
        site.held.enough("a")
        assert client.request("hold", site.held.params("a"), timeout=PATIENCE, id="r").data["name"] == "a"
    assert len(site.held.runs("a")) == 1


def test_poison_in_the_jobs_queue_is_a_dead_letter(site: Site, client: JsonbusClient, vhost: Vhost):
    site.worker(BACKEND)
    poison = [b"no job", b"\xff" * 10_000_000, b"[" * 600, b'{"type":"job","id":1}']
    with connected(vhost.url) as channel:
        for body in poison:
            channel.basic_publish("svc.jobs", f"{BACKEND}_jobs", body)
    eventually(lambda: vhost.queues("messages").get(f"svc.{BACKEND}.jobs.dead") == [str(len(poison))], "dead letters")
    assert client.request("total", {"numbers": [1]}, timeout=PATIENCE).data == 1
