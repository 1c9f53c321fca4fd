"""Workers made like the PHP library's behind `crossdock serve`: they drain the queue, acknowledge nothing and just die.

The node, RabbitMQ and the kills are real. What is counted are the answers of clients and the jobs that workers saw.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import Server, running

from acceptance.jsonbus.php_peer import Client, Message, RabbitQueue, Worker, connected
from acceptance.jsonbus.test_node import eventually, logical
from rabbit import Vhost

KILLS = int(os.environ.get("CROSSDOCK_KILLS", "6"))
SLOTS = 5
LEASE = 3


def node_at(vhost: Vhost, folder: Path, **options: Any) -> Server:
    table = {"slots": SLOTS, "lease": LEASE, **options}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    (folder / "crossdock.toml").write_text(f'[jsonbus]\nurl = "{vhost.url}"\n[backends.jsonbus.thumb]\n{lines}\n')
    return Server(None, folder / "data", cwd=folder)


@pytest.fixture
def node(vhost: Vhost, tmp_path: Path) -> Iterator[Server]:
    with running(node_at(vhost, tmp_path)) as server:
        yield server


@pytest.fixture
def client(vhost: Vhost, node: Server) -> Iterator[Client]:
    eventually(lambda: "svc.crossdock.requests" in vhost.queues(), "the node's door")
    with Client(vhost.url, "php") as client:
        yield client


def worker_at(vhost: Vhost, work: Any) -> Worker:
    return Worker(vhost.url, "thumb", work)


def double(job: Message) -> dict[str, object]:
    """Do a job; the nonce tells two runs of it apart."""
    return {"twice": 2 * job["params"]["n"], "nonce": os.urandom(8).hex()}


def test_a_request_goes_through_to_a_worker_and_back(vhost, client):
    with worker_at(vhost, double) as worker:
        answer = client.request("thumb", {"n": 4}, data={"d": 1})
    assert (answer["status"], answer["data"]["twice"]) == ("success", 8)
    [job] = worker.seen
    assert (job["status"], job["attempt"], job["params"]["n"], job["data"]) == ("new", 1, 4, {"d": 1})


def test_jobs_wait_for_a_worker_and_are_not_tried_in_vain_meanwhile(vhost, node, client):
    client.ask("thumb", {"n": 4})
    time.sleep(2 * LEASE)
    with worker_at(vhost, double) as worker:
        [answer] = client.answers(1)
    assert answer["data"]["twice"] == 8
    assert [job["attempt"] for job in worker.seen] == [1]


def test_no_more_is_under_way_than_there_are_slots(vhost, client):
    seen: list[Message] = []
    with connected(vhost.url) as channel:
        results = RabbitQueue(channel, "thumb_results")
        RabbitQueue(channel, "thumb_jobs").consume(seen.append)
        asked = {client.ask("thumb", {"n": number}) for number in range(4 * SLOTS)}
        for done in range(0, 4 * SLOTS, SLOTS):
            deadline = time.monotonic() + 20
            while len(seen) < done + SLOTS and time.monotonic() < deadline:
                channel.connection.process_data_events(0.05)
            channel.connection.process_data_events(0.5)
            assert len(seen) == done + SLOTS
            for job in seen[done:]:
                results.push({"job": {**job, "status": "success"}, "data": None, "type": "result"})
        eventually(lambda: {answer["requestId"] for answer in client.heard} == asked, "all answers")


def test_what_a_dead_worker_had_drained_is_pushed_again(vhost, client):
    def die(job: Message) -> None:
        raise SystemExit("as an exception in PHP's callback ends the script")

    with worker_at(vhost, die) as dying:
        asked = {client.ask("thumb", {"n": number}) for number in range(SLOTS)}
        eventually(lambda: dying.error is not None, "the end of the worker")
    with worker_at(vhost, double) as worker:
        answers = client.answers(SLOTS)
    assert {answer["requestId"] for answer in answers} == asked
    assert {answer["status"] for answer in answers} == {"success"}
    assert {job["attempt"] for job in worker.seen} <= {1, 2}
    assert 2 in {job["attempt"] for job in worker.seen}


def test_failures_are_pushed_again_and_told_when_it_is_enough(vhost, client):
    def work(job: Message) -> dict[str, object]:
        if job["params"]["n"] == 0 or job["attempt"] < 3:
            raise ValueError(f"attempt {job['attempt']} broke")
        return double(job)

    with worker_at(vhost, work) as worker:
        good, bad = client.request("thumb", {"n": 5}), client.request("thumb", {"n": 0})
    assert (good["status"], good["data"]["twice"]) == ("success", 10)
    assert (bad["status"], bad["message"], bad["data"]) == ("fail", "attempt 3 broke", {"code": "job_failed"})
    attempts = [(job["id"], job["attempt"], job["status"]) for job in worker.seen]
    assert sorted(attempts) == sorted((id_, n, "new") for id_ in {job["id"] for job in worker.seen} for n in (1, 2, 3))


def test_double_late_and_unnumbered_results_count_once(vhost, node, client):
    with connected(vhost.url) as channel:
        results = RabbitQueue(channel, "thumb_results")
        seen: list[Message] = []
        RabbitQueue(channel, "thumb_jobs").consume(seen.append)

        def push(job: Message, data: object, **changes: object) -> None:
            echo = {name: value for name, value in {**job, "status": "success", **changes}.items() if value is not None}
            results.push({"job": echo, "data": data, "type": "result"})

        def take(count: int) -> None:
            eventually(lambda: channel.connection.process_data_events(0.05) or len(seen) >= count, "the jobs")

        client.ask("thumb", {"n": 1})
        take(2)  # the first attempt was left to its lease
        push(seen[0], "late")
        push(seen[1], "in time", attempt=None)
        push(seen[1], "twice")
        push(seen[0], "later")
        push({**seen[0], "id": "nobody's"}, "of nobody")
        results.push({"type": "result", "taskId": "1", "jobStatus": "done"})
        channel.connection.process_data_events(0)
        [answer] = client.answers(1)
        assert answer["data"] == "in time"
        client.ask("thumb", {"n": 2})
        take(3)
        push(seen[2], "still there")
        channel.connection.process_data_events(0)
        assert client.answers(2)[1]["data"] == "still there"
    eventually(lambda: vhost.queues("messages").get("svc.thumb.results.dead") == ["1"], "the dead letter")
    metrics = httpx.get(f"{node.url}/metrics").text
    assert 'answers to attempts that were over"' in metrics


def test_a_task_is_what_workers_get_where_it_is_configured(vhost, tmp_path):
    with running(node_at(vhost, tmp_path, message="task")), connected(vhost.url) as channel:
        eventually(lambda: "svc.crossdock.requests" in vhost.queues(), "the node's door")
        tasks: list[Message] = []
        RabbitQueue(channel, "thumb_jobs").consume(tasks.append)
        with Client(vhost.url, "php") as client:
            client.ask("thumb", {"n": 1})
            eventually(lambda: channel.connection.process_data_events(0.05) or tasks, "the task")
            [task] = tasks
            assert (task["type"], task["status"]) == ("task", "active")
            made = {"id": "mine", "taskId": task["id"], "createTime": "now", "status": "success"}
            RabbitQueue(channel, "thumb_results").push({"job": made, "data": 7, "type": "result"})
            channel.connection.process_data_events(0)
            assert client.answers(1)[0]["data"] == 7


@pytest.mark.timeout(900)
def test_every_request_has_one_logical_answer_however_often_the_node_is_killed(vhost, node, client):
    draw = random.Random(5)
    asked: list[str] = []
    ends = threading.Event()

    def load() -> None:
        while not ends.is_set():
            asked.append(client.ask("thumb", {"n": len(asked)}))
            time.sleep(0.02)

    def work(job: Message) -> dict[str, object]:
        time.sleep(0.01)
        return double(job)

    with worker_at(vhost, work) as worker:
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
    assert worker.error is None
    assert client.error is None
    answers = logical(client.heard)
    assert answers.keys() == set(asked)
    assert [id_ for id_, different in answers.items() if len(different) > 1] == []
    assert {answer["status"] for answer in client.heard} == {"success"}
    # A kill may have what was just pushed pushed once more, under the same number, and nothing else.
    runs = Counter(job["id"] for job in worker.seen)
    assert {job["attempt"] for job in worker.seen} == {1}
    assert sum(runs.values()) - len(runs) <= SLOTS * KILLS


def test_a_result_that_comes_while_the_node_is_down_is_not_lost(vhost, node, client):
    goes = threading.Event()

    def work(job: Message) -> dict[str, object]:
        goes.wait(20)
        return double(job)

    with worker_at(vhost, work) as worker:
        asked = {client.ask("thumb", {"n": number}) for number in range(SLOTS)}
        eventually(lambda: worker.seen, "a job")
        time.sleep(0.5)  # what was pushed is on record by now
        node.kill()
        goes.set()
        eventually(lambda: vhost.queues("messages").get("svc.thumb.results") == [str(SLOTS)], "the results")
        node.start()
        eventually(lambda: {answer["requestId"] for answer in client.heard} == asked, "all answers")
        assert len(worker.seen) == SLOTS, "nothing was pushed again"


def test_a_restart_of_rabbitmq_loses_no_job(vhost, node):
    eventually(lambda: "svc.crossdock.requests" in vhost.queues(), "the node's door")
    with Client(vhost.url, "php") as client, worker_at(vhost, double):
        client.request("thumb", {"n": 0})
        asked = {client.ask("thumb", {"n": number}): number for number in range(50)}
        client.answers(5)
        vhost.rabbit.kill()
    vhost.rabbit.start()
    known = {answer["requestId"] for answer in client.heard}
    with Client(vhost.url, "php") as again, worker_at(vhost, double):
        for id_ in asked.keys() - known:  # what was on its way to the node may have been lost: PHP waits for no confirm
            again.ask("thumb", {"n": asked[id_]}, id=id_)
        after = {again.ask("thumb", {"n": number}) for number in range(10)}
        wanted = (asked.keys() - known) | after
        eventually(lambda: {answer["requestId"] for answer in again.heard} >= wanted, "all answers")
