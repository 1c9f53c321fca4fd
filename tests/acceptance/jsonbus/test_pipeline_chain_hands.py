"""The whole way, client → node → hands → client, as processes, for every kind of hands behind one node.

The hands are functions of the node itself, two `crossdock worker` behind a quorum queue, and workers made like PHP's, which
acknowledge nothing. One node has all three, and requests of two kinds of clients for all of them at once.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import CROSSDOCK, Program, Server

from acceptance.jsonbus.php_peer import Client, Worker
from acceptance.jsonbus.worker_site import eventually
from crossdock.protocols.jsonbus.client import JsonbusClient
from rabbit import Vhost

REQUESTS = 60
PATIENCE = 90.0
SLOTS = 3
APP = """
import asyncio, os
from crossdock import App

node, worker = App(), App()

@node.function("local")
async def local(n: int, words: list[str]):
    return {"n": n, "by": os.getpid(), "words": words}

@worker.function("own")
async def own(n: int, words: list[str]):
    await asyncio.sleep(0.02)
    return {"n": n, "by": os.getpid(), "words": words}
"""


class Way:
    """A node with three kinds of hands; ``names`` are theirs."""

    def __init__(self, vhost: Vhost, folder: Path, stack: ExitStack) -> None:
        app = folder / "hands.py"
        app.write_text(APP)
        (folder / "crossdock.toml").write_text(
            f'[jsonbus]\nurl = "{vhost.url}"\nlists = ["local", "own", "foreign"]\n'
            f'[backends.jsonbus.ours]\nworkers = "own"\nkinds = ["own"]\nslots = 20\n'
            f'[backends.jsonbus.theirs]\nworkers = "foreign"\nkinds = ["foreign"]\nslots = {SLOTS}\nlists = true\n'
        )
        self.vhost = vhost
        self.node = Server(f"{app}:node", folder / "data", cwd=folder)
        self.php = [stack.enter_context(Worker(vhost.url, "theirs", self._php(name))) for name in ("p", "q")]
        link = f"jsonbus+{vhost.url}?node=ours"
        command = [CROSSDOCK, "worker", f"{app}:worker", "--connect", link, "--slots", "2"]
        self.own = [Program(command, folder / f"worker{number}.log", folder) for number in range(2)]
        for program in (self.node, *self.own):
            stack.callback(program.stop)
            program.start()
        wanted = {"svc.crossdock.requests": ["1"], "svc.ours.jobs": ["2"], "svc.theirs.results": ["1"], "theirs_jobs": ["2"]}
        eventually(lambda: vhost.queues("consumers").items() >= wanted.items(), f"{wanted}")

    @staticmethod
    def _php(name: str):
        return lambda job: {"n": job["params"]["n"], "by": name, "words": job["params"]["words"]}

    def check(self, answers: list[tuple[str, int, dict]]) -> None:
        """Check answers, each with its kind and number: whoever it should be has done it, and only once."""
        assert all(data["n"] == number for _, number, data in answers)
        assert all(data["words"] == ["ä", "b"] for _, _, data in answers)
        by = {kind: Counter(data["by"] for of, _, data in answers if of == kind) for kind in ("local", "own", "foreign")}
        assert by["own"].keys() == {program.pid for program in self.own}
        assert by["foreign"].keys() <= {"p", "q"}
        assert not by["local"].keys() & {os.getpid(), *by["own"]}
        assert sum(len(peer.seen) for peer in self.php) == by["foreign"].total()


@pytest.fixture
def way(vhost: Vhost, tmp_path: Path) -> Iterator[Way]:
    with ExitStack() as stack:
        yield Way(vhost, tmp_path, stack)


def kind(number: int) -> str:
    return ("local", "own", "foreign")[number % 3]


def params(number: int) -> dict[str, object]:
    return {"n": number, "words": ["ä", "b"]}


def test_a_client_as_php_makes_it(way: Way):
    with Client(way.vhost.url, "php") as client:
        asked = {client.ask(kind(number), params(number)): number for number in range(REQUESTS)}
        answers = client.answers(REQUESTS, PATIENCE)
    assert Counter(answer["requestId"] for answer in answers) == Counter(asked.keys())
    assert {answer["status"] for answer in answers} == {"success"}
    found = [(kind(number), number, answer["data"]) for answer in answers for number in [asked[answer["requestId"]]]]
    way.check([(of, number, {**data, "words": list(data["words"])}) for of, number, data in found])


def test_our_client(way: Way):
    with JsonbusClient(f"jsonbus+{way.vhost.url}") as client, ThreadPoolExecutor(12) as pool:

        def ask(number: int) -> tuple[str, int, dict]:
            return kind(number), number, client.request(kind(number), params(number), timeout=PATIENCE).data

        way.check(list(pool.map(ask, range(REQUESTS))))


def test_hands_that_leave_are_waited_for(way: Way):
    for peer in way.php:
        peer.end()
    for program in way.own:
        program.stop()
    with Client(way.vhost.url, "php") as client:
        asked = {client.ask(kind(number), params(number)) for number in range(1, 6) if number % 3}
        eventually(lambda: way.vhost.queues("messages")["svc.ours.jobs"] != ["0"], "a job waits")
        assert client.heard == []
        with Worker(way.vhost.url, "theirs", lambda job: {"n": job["params"]["n"]}):
            way.own[0].start()
            assert {answer["requestId"] for answer in client.answers(len(asked), PATIENCE)} == asked
        assert {answer["status"] for answer in client.heard} == {"success"}
