"""Nodes that need each other's data, as processes: a chain of three, failures, needs at once, circles, and kills."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest
from servers import Server

from acceptance.jsonbus.chain_site import nodes
from acceptance.jsonbus.php_peer import Client
from acceptance.jsonbus.raw_load import Load, loading
from acceptance.jsonbus.worker_site import eventually
from crossdock.protocols.jsonbus.client import JsonbusClient, RequestFailedError
from rabbit import Vhost

CHAIN = ("pages", "thumbs", "downloads")
PATIENCE = 90.0


def client(vhost: Vhost, node: str) -> JsonbusClient:
    return JsonbusClient(f"jsonbus+{vhost.url}?node={node}")


def states(server: Server) -> dict[str, str]:
    """Return the states of a node's jobs by their kinds."""
    return {job["processID"]: job["status"] for job in httpx.get(f"{server.url}/jobs").raise_for_status().json()["jobs"]}


def test_a_chain_of_three_waits_and_is_done(vhost: Vhost, tmp_path: Path):
    with nodes(vhost, tmp_path, *CHAIN) as (pages, thumbs, downloads), Client(vhost.url, "php", "pages_request") as php:
        asked = php.ask("page", {"n": 7, "folder": str(tmp_path)})
        eventually((tmp_path / "begun").exists, "the last of the chain begins")
        assert states(pages) == {"page": "accepted", "thumbs": "running"}
        assert states(thumbs) == {"thumbs": "accepted", "downloads": "running"}
        assert states(downloads) == {"downloads": "running"}
        assert php.heard == []
        (tmp_path / "enough").touch()
        [answer] = php.answers(1, PATIENCE)
        assert (answer["requestId"], answer["status"]) == (asked, "success")
        assert answer["data"]["image"] == {"small": 7, "raw": {"bytes": 21}}
        assert set(states(pages).values()) == {"successful"}


def test_the_failure_of_the_last_is_that_of_all(vhost: Vhost, tmp_path: Path):
    with nodes(vhost, tmp_path, *CHAIN) as (pages, thumbs, _), client(vhost, "pages") as ask:
        with pytest.raises(RequestFailedError, match="there is nothing at that address") as caught:
            ask.request("page", {"n": 1, "url": "gone"}, timeout=PATIENCE)
        assert caught.value.data["code"] == "need_failed"
        assert states(pages) == {"page": "failed", "thumbs": "failed"}
        assert states(thumbs) == {"thumbs": "failed", "downloads": "failed"}
        assert ask.request("page", {"n": 1}, timeout=PATIENCE).data["twice"] == 2


def test_what_is_needed_at_once_is_asked_for_at_once(vhost: Vhost, tmp_path: Path):
    with nodes(vhost, tmp_path, "both", "alpha", "beta"), client(vhost, "both") as ask:
        assert ask.request("both", {"folder": str(tmp_path)}, timeout=PATIENCE).data == ["alpha", "beta"]


def test_nodes_in_a_circle_are_refused(vhost: Vhost, tmp_path: Path):
    with nodes(vhost, tmp_path, "left", "right") as servers, client(vhost, "left") as ask:
        with pytest.raises(RequestFailedError, match="in a circle"):
            ask.request("left", {}, timeout=PATIENCE)
        counts = [len(httpx.get(f"{server.url}/jobs?limit=1000").json()["jobs"]) for server in servers]
        assert sum(counts) < 50
        with pytest.raises(RequestFailedError, match="in a circle"):  # they are not exhausted by it
            ask.request("left", {}, timeout=PATIENCE)


def test_every_node_of_the_chain_is_killed_while_it_waits(vhost: Vhost, tmp_path: Path):
    with nodes(vhost, tmp_path, *CHAIN) as servers, Client(vhost.url, "php", "pages_request") as php:
        php.ask("page", {"n": 7, "folder": str(tmp_path)})
        for server in servers:
            eventually((tmp_path / "begun").exists, "the last of the chain begins")
            server.kill()
            server.start()
        (tmp_path / "enough").touch()
        [answer] = php.answers(1, PATIENCE)
        assert answer["data"]["image"] == {"small": 7, "raw": {"bytes": 21}}


@pytest.mark.timeout(240)
async def test_a_chain_under_load_loses_nothing_when_its_nodes_are_killed(vhost: Vhost, tmp_path: Path):
    draw = random.Random(1)
    with nodes(vhost, tmp_path, *CHAIN) as servers:
        async with loading(Load(vhost.url, ["page"], key="pages_request", pause=0.3)) as load:
            for server in 2 * servers:
                await asyncio.sleep(draw.uniform(0.1, 0.8))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
    print(f"6 kills: {load.counts}")
    assert load.violations() == []
    assert len(load.confirmed) > 50
