"""A chain of three nodes on a real RabbitMQ: two of ours, which are killed, and one made like the PHP library's."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from servers import Server, running

from acceptance.jsonbus.php_peer import Client, Message, Node, Worker
from acceptance.jsonbus.test_node import eventually, logical
from rabbit import Vhost

KILLS = int(os.environ.get("CROSSDOCK_KILLS", "6"))
HERE = Path(__file__).parent


def node_at(vhost: Vhost, folder: Path, app: str | None, name: str, key: str, *settings: str) -> Server:
    """Return a node of ours; its data are in a folder of their own."""
    options = [f"jsonbus.url={vhost.url}", f"jsonbus.node={name}", f"jsonbus.request_key={key}", *settings]
    return Server(app, folder / name, settings=options)


class Line:
    """The three nodes. ``work`` is what the last one does; it holds every job back until ``goes`` is set."""

    def __init__(self, vhost: Vhost, folder: Path, stack: ExitStack) -> None:
        self.vhost = vhost
        self.goes = threading.Event()
        self.goes.set()
        self.work: Callable[[Message], object] = lambda job: {"text": job["params"]["url"].upper()}
        self.fetcher = stack.enter_context(Worker(vhost.url, "fetcher", self._fetch))
        self.last = stack.enter_context(Node(vhost.url, "fetcher", "fetcher_request"))
        self.middle = node_at(vhost, folder, f"{HERE / 'middle_app.py'}:app", "downloader", "downloader_request")
        self.first = node_at(vhost, folder, f"{HERE / 'pipeline_app.py'}:app", "front", "requests")
        for node in (self.middle, self.first):
            stack.enter_context(running(node))
        eventually(lambda: {"svc.front.requests", "svc.downloader.requests"} <= set(vhost.queues()), "the doors")
        self.client = stack.enter_context(Client(vhost.url, "php"))

    def _fetch(self, job: Message) -> object:
        self.goes.wait(60)
        return self.work(job)

    def jobs(self, node: Server) -> list[dict]:
        """Return the jobs of a node, oldest first."""
        return httpx.get(f"{node.url}/jobs").json()["jobs"][::-1]


@pytest.fixture
def line(vhost: Vhost, tmp_path: Path) -> Iterator[Line]:
    with ExitStack() as stack:
        yield Line(vhost, tmp_path, stack)


def test_data_come_through_three_nodes(line):
    answer = line.client.request("thumbnail", {"url": "abc"})
    assert (answer["status"], answer["data"]["small"], answer["data"]["url"]) == (
        "success",
        {"pixels": "ABC", "of": "abc"},
        "abc",
    )
    [request] = line.last.seen
    assert (request["clientId"], request["subject"], request["params"]) == ("downloader", "fetcher", {"url": "abc"})


def test_a_job_waits_and_says_for_what(line):
    line.goes.clear()
    line.client.ask("thumbnail", {"url": "abc"})
    eventually(lambda: line.last.seen, "the request at the end of the line")
    for node, need, kind in ((line.first, "image", "downloader"), (line.middle, "page", "fetcher")):
        found = {job["processID"]: job for job in line.jobs(node)}
        waiting = next(job for name, job in found.items() if name != kind)
        told = httpx.get(f"{node.url}/jobs/{waiting['jobID']}").text
        assert f"it waits for '{need}' of '{kind}'" in told
        assert found[kind]["status"] == "running"
    line.goes.set()
    assert line.client.answers(1)[0]["status"] == "success"


def test_what_fails_at_the_end_is_told_at_the_beginning(line):
    def work(job: Message) -> object:
        raise ValueError("no such page")

    line.work = work
    answer = line.client.request("thumbnail", {"url": "abc"})
    assert (answer["status"], answer["data"]) == ("fail", {"code": "need_failed"})
    assert answer["message"].startswith("'image' cannot be had: the job ")
    assert "'page' cannot be had: the job " in answer["message"]


def test_two_nodes_are_asked_at_once(line, vhost):
    count = Worker(vhost.url, "counter", lambda job: len(job["params"]["url"]))
    with count, Node(vhost.url, "counter", "counter_request") as counter:
        line.goes.clear()
        line.client.ask("both", {"url": "abc"})
        eventually(lambda: counter.seen and line.last.seen, "both requests, while nobody has answered the first")
        line.goes.set()
        assert line.client.answers(1)[0]["data"] == [{"pixels": "ABC", "of": "abc"}, 3]


def test_a_node_that_is_not_there_fails_the_request_with_its_name(line):
    answer = line.client.request("both", {"url": "abc"}, timeout=90)
    assert answer["status"] == "fail"
    assert "the node 'counter' is not there: no queue is bound under 'counter_request'" in answer["message"]


def test_a_large_result_of_a_node_is_fetched(line):
    line.work = lambda job: {"text": "x" * 2_000_000}
    answer = line.client.request("thumbnail", {"url": "abc"})
    assert answer["data"]["size"] > 2_000_000
    assert len(httpx.get(answer["data"]["resultRef"]).json()["small"]["pixels"]) == 2_000_000


def test_nodes_that_need_each_other_end_with_a_failure(vhost, tmp_path):
    app = tmp_path / "circle.py"
    text = "from crossdock import App\napp = App()\n@app.function({0!r}, needs={{'x': {1!r}}})\nasync def f(x: int): ...\n"
    with ExitStack() as stack:
        for name, other in (("one", "two"), ("two", "one")):
            app = tmp_path / f"{name}.py"
            app.write_text(text.format(name, other))
            stack.enter_context(running(node_at(vhost, tmp_path, f"{app}:app", name, f"{name}_request")))
        eventually(lambda: {"svc.one.requests", "svc.two.requests"} <= set(vhost.queues()), "the doors")
        client = stack.enter_context(Client(vhost.url, "php", "one_request"))
        answer = client.request("one", timeout=60)
    assert (answer["status"], answer["data"]) == ("fail", {"code": "need_failed"})


@pytest.mark.timeout(900)
def test_every_request_has_one_logical_answer_however_often_nodes_are_killed(line):
    draw = random.Random(6)
    asked: dict[str, int] = {}
    ends = threading.Event()

    def load() -> None:
        while not ends.is_set():
            asked[line.client.ask("thumbnail", {"url": f"u{len(asked)}"})] = len(asked)
            time.sleep(0.05)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.05, 1.0))
            node = draw.choice((line.first, line.middle))
            node.kill()
            node.start()
    finally:
        ends.set()
        loading.join()
    eventually(lambda: {answer["requestId"] for answer in line.client.heard} >= asked.keys(), "all answers")
    answers = logical(line.client.heard)
    assert answers.keys() == asked.keys()
    assert [id_ for id_, different in answers.items() if len(different) > 1] == []
    for answer in line.client.heard:
        assert answer["status"] == "success", answer
        assert answer["data"]["small"] == {
            "pixels": f"U{asked[answer['requestId']]}",
            "of": f"u{asked[answer['requestId']]}",
        }
    ids = {(request["params"]["url"], request["id"]) for request in line.last.seen}
    assert len(ids) == len(asked), "a request that is repeated after a kill is the same one"


def test_a_wait_outlives_restarts_of_everything(line):
    line.goes.clear()
    asked = line.client.ask("thumbnail", {"url": "abc"})
    eventually(lambda: line.last.seen, "the request at the end of the line")
    time.sleep(0.5)
    for node in (line.first, line.middle):
        node.kill()
    line.goes.set()
    eventually(lambda: line.vhost.queues("messages").get("svc.downloader.answers") == ["1"], "the answer of the last node")
    line.middle.start()
    eventually(lambda: line.vhost.queues("messages").get("svc.front.answers") == ["1"], "the answer of the middle node")
    line.first.start()
    eventually(lambda: line.client.heard, "the answer")
    assert (line.client.heard[0]["requestId"], line.client.heard[0]["status"]) == (asked, "success")
    assert len(line.last.seen) == 1, "nobody was asked twice"
