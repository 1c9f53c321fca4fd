"""Poison in every queue, among good requests: the consumers go on, all of it is kept with a reason, nobody waits in vain."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from acceptance.jsonbus import poison
from acceptance.jsonbus.fault_site import KINDS, Site, site_at
from acceptance.jsonbus.our_load import calling
from acceptance.jsonbus.php_peer import Client, Message, Node, Peer, Worker, connected, decode, encode
from acceptance.jsonbus.poison import Poison
from acceptance.jsonbus.raw_load import Load, loading
from acceptance.jsonbus.worker_site import eventually
from rabbit import Vhost

MUCH = int(os.environ.get("CROSSDOCK_POISON", "1000"))
"""Messages of poison, not counting those of 10 MB."""
PLACES: dict[str, tuple[str, str, tuple[Poison, ...]]] = {
    "svc.crossdock.requests": ("jsonbus", "requests", poison.REQUESTS),
    "svc.crossdock.answers": ("jsonbus", "crossdock_notify", poison.ANSWERS),
    "svc.hands.results": ("jsonbus", "hands_results", poison.RESULTS),
    "svc.hands.jobs": ("svc.jobs", "hands_jobs", poison.JOBS),
}
"""Where something of ours consumes: the exchange, the key, and what is poison there."""

pytestmark = pytest.mark.timeout(300)


@contextmanager
def elsewhere(vhost: Vhost) -> Iterator[None]:
    """Have a node made like PHP's, which another one asks."""
    with (
        Node(vhost.url, "elsewhere", "elsewhere_request"),
        Worker(vhost.url, "elsewhere", lambda job: {"n": job["params"]["n"]}),
    ):
        yield


class Spy(Peer):
    """Hears all results on their way to a backend, and sends further ones for the same jobs: doubles, failures, old ones."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url)
        self.key = key
        self.sent = 0
        self._seen: set[str] = set()

    def begin(self, channel: Any) -> None:
        channel.queue_declare("spy", durable=True, auto_delete=True)
        channel.queue_bind("spy", "jsonbus", self.key)
        channel.basic_consume("spy", lambda _c, _m, _p, body: self._hear(channel, body), auto_ack=True)

    def _hear(self, channel: Any, body: bytes) -> None:
        try:
            result = decode(body)
            job = result["job"]
        except (ValueError, KeyError):
            return
        if not isinstance(job, dict) or "attempt" not in job or job["id"] in self._seen:
            return
        self._seen |= {job["id"], f"{job['id']}x"}
        further: list[Message] = [
            result,
            {**result, "data": {"twice": -1}},
            {**result, "job": {**job, "status": "fail"}, "data": {"outcome": "failed", "message": "not so"}},
            {**result, "job": {**job, "attempt": 0}, "data": {"twice": -1}},
            {**result, "job": {**job, "id": f"{job['id']}x"}},
        ]
        for message in further:
            channel.basic_publish("jsonbus", self.key, encode(message))
            self.sent += 1


def feed(vhost: Vhost, amounts: dict[str, int], pause: float) -> dict[str, Counter[bytes]]:
    """Publish so much poison for each queue, among one another; return the bodies."""
    streams = {queue: list(islice(poison.bodies(PLACES[queue][2]), amount)) for queue, amount in amounts.items()}
    wait = threading.Event()
    with connected(vhost.url) as channel:
        channel.confirm_delivery()
        for number in range(max(amounts.values())):
            for queue, stream in streams.items():
                if number < len(stream):
                    exchange, key, _ = PLACES[queue]
                    channel.basic_publish(exchange, key, stream[number], mandatory=True)
            wait.wait(pause)
    return {queue: Counter(stream) for queue, stream in streams.items()}


def dead(vhost: Vhost, queue: str, number: int) -> Counter[bytes]:
    """Wait for so many dead letters of a queue; check that each has a reason, and return the bodies."""
    eventually(lambda: vhost.queues("messages")[f"{queue}.dead"] == [str(number)], f"{number} dead letters of {queue}")
    found: Counter[bytes] = Counter()
    with connected(vhost.url) as channel:
        for method, properties, body in channel.consume(f"{queue}.dead", auto_ack=True, inactivity_timeout=10):
            assert method is not None
            headers = properties.headers
            if queue == "svc.hands.jobs":  # a worker need not be allowed to publish there
                assert headers["x-death"][0]["reason"] == "rejected"
            else:
                assert len(headers["x-reason"]) > 10
                assert headers["x-original-key"] == PLACES[queue][1]
            found[body] += 1
            if found.total() == number:
                return found
    raise AssertionError("no end")


def calm(vhost: Vhost) -> bool:
    """Tell whether nothing waits in queues of ours."""
    return all(number == "0" for queue, (number,) in vhost.queues("messages").items() if queue.startswith("svc."))


def check_alive(site: Site) -> None:
    """Check that everybody is the same as at the beginning, and at work."""
    site.settle()
    assert all(program.alive() for program in site.programs)
    assert "Traceback" not in "".join(program.said(100_000) for program in site.programs)


async def test_poison_everywhere_among_good_requests(vhost: Vhost, tmp_path: Path):
    amounts = dict.fromkeys(PLACES, MUCH // len(PLACES))
    with elsewhere(vhost), site_at(vhost, tmp_path) as site, Spy(vhost.url, "hands_results") as spy:
        async with loading(Load(vhost.url, (*KINDS, "asks"))) as load:
            fed = await asyncio.to_thread(feed, vhost, amounts, 0.02)
            await load.more(50)
        print(f"{sum(amounts.values())} of poison, {spy.sent} results too many: {load.counts}")
        assert load.violations() == []
        assert spy.error is None
        assert spy.sent > 100
        for queue, bodies in fed.items():
            assert await asyncio.to_thread(dead, vhost, queue, bodies.total()) == bodies
        await asyncio.to_thread(eventually, lambda: calm(vhost), "nothing waits any more")
        await asyncio.to_thread(check_alive, site)


async def test_bodies_of_ten_megabytes_among_good_requests(vhost: Vhost, tmp_path: Path):
    sent: dict[str, Counter[bytes]] = {queue: Counter() for queue in PLACES}

    def publish() -> None:
        with connected(vhost.url) as channel:
            channel.confirm_delivery()
            for number, (queue, (exchange, key, _)) in enumerate(PLACES.items()):
                for make in poison.HUGE if queue == "svc.crossdock.requests" else poison.HUGE[:2]:
                    body = make(number)
                    sent[queue][body] += 1
                    channel.basic_publish(exchange, key, body, mandatory=True)

    with elsewhere(vhost), site_at(vhost, tmp_path) as site:
        async with loading(Load(vhost.url, (*KINDS, "asks"))) as load:
            await asyncio.to_thread(publish)
            await load.more(50)
        assert load.violations() == []
        for queue, bodies in sent.items():
            assert await asyncio.to_thread(dead, vhost, queue, bodies.total()) == bodies
        await asyncio.to_thread(check_alive, site)


def test_who_can_be_told_is_told(vhost: Vhost, tmp_path: Path):
    wrong = {
        "no subject": b'{"type":"request","id":"no subject","clientId":"php"}',
        "no object": b'{"type":"request","id":"no object","clientId":"php","subject":"local","params":"n"}',
        "deep": b'{"type":"request","id":"deep","clientId":"php","subject":"local","data":' + poison.DEEP + b"}",
        "capital": b'{"type":"Request","id":"capital","clientId":"php","subject":"local"}',
    }
    unfit = {
        "no kind": b'{"type":"request","id":"no kind","clientId":"php","subject":"unheard of"}',
        "no number": b'{"type":"request","id":"no number","clientId":"php","subject":"local","params":{"n":"x"}}',
    }
    with site_at(vhost, tmp_path) as site, Client(vhost.url, "php") as client, connected(vhost.url) as channel:
        for body in (*wrong.values(), *unfit.values()):
            channel.basic_publish("jsonbus", "requests", body)
        answers = {answer["requestId"]: answer for answer in client.answers(len(wrong) + len(unfit))}
        assert answers.keys() == wrong.keys() | unfit.keys()
        assert {answer["status"] for answer in answers.values()} == {"fail"}
        assert all(len(answer["message"]) > 10 for answer in answers.values())
        assert dead(vhost, "svc.crossdock.requests", len(wrong)) == Counter(wrong.values())
        assert client.request("local", {"n": 4, "seconds": 0})["data"]["twice"] == 8
        check_alive(site)


async def test_poison_in_the_queue_of_our_client(vhost: Vhost, tmp_path: Path):
    with site_at(vhost, tmp_path), connected(vhost.url) as channel:
        async with calling(vhost, KINDS) as calls:
            await calls.more(8)
            [mine] = [queue for queue in vhost.queues() if queue.endswith("_notify") and queue.startswith("crossdock-")]
            for body in (*islice(poison.bodies(poison.ANSWERS), 100), poison.HUGE[0](0)):
                channel.basic_publish("jsonbus", mine, body)
            await calls.more(50)
        assert len(set(calls.nonces)) == len(calls.nonces)
