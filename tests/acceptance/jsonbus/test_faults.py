"""kill -9 of a node and of its workers under load: every request has exactly one logical answer, and none is lost.

The kills of the node are CROSSDOCK_KILLS, 20 without it.
"""

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from acceptance.jsonbus.fault_site import KINDS, Site, site_at
from acceptance.jsonbus.our_load import Calls, calling
from acceptance.jsonbus.raw_load import Load, loading
from acceptance.jsonbus.worker_site import eventually
from rabbit import Vhost

KILLS = int(os.environ.get("CROSSDOCK_KILLS", "20"))
OURS = max(2, KILLS // 10)
"""Kills under the load of our own client."""
WORKERS_EVERY = 4
SEED = 4

pytestmark = pytest.mark.timeout(180 + 6 * KILLS)


async def kill(site: Site, load: Load | Calls, kills: int) -> None:
    """Kill the node so often, and a worker now and then.

    Every other kill comes shortly after the first answers since a start: then there is most on its way.
    """
    draw = random.Random(SEED)
    for number in range(kills):
        if number % 2:
            await load.more(1)
        await asyncio.sleep(draw.uniform(0.0, 0.05 if number % 2 else 0.8))
        await site.kill(site.node, draw)
        if number % WORKERS_EVERY == WORKERS_EVERY - 1:
            await site.kill(draw.choice(site.workers), draw)


async def test_every_confirmed_request_has_one_answer_whatever_is_killed(vhost: Vhost, tmp_path: Path):
    with site_at(vhost, tmp_path) as site:
        async with loading(Load(vhost.url, KINDS, pause=0.08)) as load:
            await kill(site, load, KILLS)
        print(f"{site.kills} kills: {load.counts}")
        assert load.violations() == []
        assert load.returned == 0
        assert len(load.confirmed) > 10 * KILLS, "the load was too small to say anything"
        await asyncio.to_thread(
            eventually, lambda: all(left == "0" for (left,) in vhost.queues("messages").values()), "no leftovers"
        )


async def test_every_call_of_our_client_comes_back_whatever_is_killed(vhost: Vhost, tmp_path: Path):
    with site_at(vhost, tmp_path) as site:
        async with calling(vhost, KINDS) as calls:
            await kill(site, calls, OURS)
            await calls.more(50)
    print(f"{site.kills} kills: {len(calls.nonces)} calls")
    assert len(set(calls.nonces)) == len(calls.nonces)


def test_the_load_sees_what_is_wrong():
    load = Load("amqp://127.0.0.1/", KINDS)
    load.asked = {"lost": 0, "right": 1, "unsure": 2, "twice": 3, "wrong": 4, "failed": 5}
    load.confirmed = load.asked.keys() - {"unsure"}

    def body(name: str, twice: int, nonce: str = "a", status: str = "success") -> bytes:
        return json.dumps({"requestId": name, "status": status, "data": {"twice": twice, "nonce": nonce}}).encode()

    load.answers["right"] = Counter({body("right", 2): 3})
    load.answers["twice"] = Counter([body("twice", 6), body("twice", 6, "b")])
    load.answers["wrong"] = Counter([body("wrong", 9)])
    load.answers["failed"] = Counter([body("failed", 10, status="fail")])
    load.answers["nobody"] = Counter([body("nobody", 1)])
    found = load.violations()
    assert len(found) == 5
    assert {word for text in found for word in text.split() if word in (*load.asked, "nobody")} == {
        "lost",
        "twice",
        "wrong",
        "failed",
        "nobody",
    }
