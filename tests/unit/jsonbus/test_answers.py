"""Answers on their way to clients: queues that are gone, connections that are away, results that are large."""

import json

import pytest

from brokers import DONE, WRONG, House
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Job, Outcome, OutcomeKind, Subscriber
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Policy
from crossdock.protocols.jsonbus import answers as module
from crossdock.protocols.jsonbus.asker import Asker
from crossdock.protocols.jsonbus.endings import ending_letter, unreadable_letter
from crossdock.protocols.jsonbus.options import NodeOptions
from jsonbus_node import Node, request

TWO = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"2")
ERROR = Outcome(kind=OutcomeKind.ERRORED, code="boom", message="it broke")


async def asked(node, outcome=TWO, client="c", reply_to="", **members) -> Job:
    """Have a request come and its job end."""
    before = len(node.bus.settlements)
    node.send(request(client=client, **members), reply_to=reply_to)
    await node.accepted(before + 1)
    return await node.work(outcome)


async def small(limit: int) -> Node:
    house = House({"work": Kind(name="work", policy=Policy(attempts=1))})
    await house.open()
    await house.attach(slots=100)
    node = Node(house, NodeOptions(inline=limit))
    await node.open()
    return node


async def end(node: Node) -> None:
    await node.close()
    await node.house.crash()


async def test_an_answer_is_persistent_news_about_its_request(node):
    await asked(node)
    letter = await node.letter()
    assert (letter.exchange, letter.key, letter.kind, letter.correlation) == ("jsonbus", "c_notify", "notification", "r1")


async def test_reply_to_goes_before_the_client_s_queue(node):
    node.bus.declare("amq.gen-7")
    await asked(node, reply_to="amq.gen-7")
    letter = await node.letter("amq.gen-7")
    assert (letter.exchange, letter.key) == ("", "amq.gen-7")
    assert node.bus.size("c_notify") == 0


async def test_a_repeated_request_is_answered_where_it_wants_now(node):
    node.bus.declare("old")
    node.bus.declare("new")
    node.send(request(), reply_to="old")
    await node.accepted()
    node.send(request(), reply_to="new")
    await node.accepted(2)
    node.send(request(), reply_to="new")
    await node.accepted(3)
    await node.work(TWO)
    assert (await node.letter("old")).id == (await node.letter("new")).id
    await node.settle()
    assert node.bus.size("new") == 0


async def test_answers_to_a_queue_that_is_gone_are_sent_again_ever_less_often(node):
    node.bus.vanish("c_notify")
    await asked(node)
    tries = [node.bus.tries]
    await node.until(lambda: node.bus.tries == 1)
    for pause in (1, 5, 30, 120, 600, 1800, 1800):
        await node.settle()
        await node.advance(pause - 0.5)
        assert node.bus.tries == len(tries)
        await node.advance(0.5)
        await node.until(lambda: node.bus.tries == len(tries) + 1)
        tries.append(node.bus.tries)
    await node.settle()
    node.bus.declare("c_notify")
    await node.advance(1800)
    assert (await node.answer())["data"] == 2


@pytest.mark.parametrize("trouble", ["full", "forbidden"])
async def test_clients_whose_queues_take_nothing_keep_no_others_waiting(node, monkeypatch, trouble):
    monkeypatch.setattr(module, "_UNDER_WAY", 3)
    node.bus.declare("odd")
    if trouble == "full":
        node.bus.full.add("odd")
    else:
        node.bus.forbidden.add("")
    for number in range(5):
        await asked(node, id=f"odd{number}", reply_to="odd")
    await asked(node, id="even")
    assert (await node.answer())["requestId"] == "even"
    node.bus.full.clear()
    node.bus.forbidden.clear()
    await node.advance(module.PLAN[0])
    assert {(await node.answer("odd"))["requestId"] for _ in range(5)} == {f"odd{number}" for number in range(5)}


async def test_the_plan_goes_on_after_a_restart(node):
    node.bus.vanish("c_notify")
    await asked(node)
    await node.until(lambda: node.bus.tries == 1)
    await node.settle()
    await node.kill()
    node.bus.declare("c_notify")
    await node.settle()
    assert node.bus.size("c_notify") == 0
    await node.advance(1)
    assert (await node.answer())["data"] == 2


async def test_an_answer_that_waits_for_its_client_comes_at_once_when_the_request_is_repeated(node):
    node.bus.vanish("c_notify")
    await asked(node)
    await node.until(lambda: node.bus.tries == 1)
    await node.settle()
    node.bus.declare("c_notify")
    node.send(request())
    assert (await node.answer())["data"] == 2
    await node.settle()
    await node.advance(10_000)
    assert node.bus.size("c_notify") == 0


async def test_an_answer_that_nobody_takes_is_given_up_after_the_cache_period(node):
    node.bus.vanish("c_notify")
    job = await asked(node)
    await node.until(lambda: node.bus.tries == 1)
    for _ in range(60):
        await node.settle()
        await node.advance(1800)
    assert node.counts["answers that nobody took"] == 1
    assert await node.house.store.notifications(0, 10) == []
    assert job.expires is not None


async def test_an_old_failure_is_not_told_once_the_request_is_tried_again():
    node = await small(100)
    node.bus.vanish("c_notify")
    await asked(node, ERROR)
    await node.until(lambda: node.bus.tries == 1)
    await node.settle()
    node.bus.declare("c_notify")
    await asked(node, TWO)
    assert (await node.answer())["status"] == "success"
    await node.advance(1)
    await node.settle()
    assert node.bus.size("c_notify") == 0
    assert await node.house.store.notifications(0, 10) == []
    await end(node)


async def test_answers_wait_for_the_connection(node):
    for number in range(50):
        node.send(request(id=f"r{number}"))
    await node.accepted(50)
    node.bus.go()
    for lease in await node.house.claim(limit=50):
        await node.house.report(lease, TWO)
    await node.until(lambda: node.bus.tries == 50)
    assert node.bus.size("c_notify") == 0
    node.bus.come()
    found = {(await node.answer())["requestId"] for _ in range(50)}
    assert found == {f"r{number}" for number in range(50)}
    await node.settle()
    assert await node.house.store.notifications(0, 100) == []


async def test_an_answer_whose_confirm_was_lost_is_sent_again_under_the_same_id(node):
    node.bus.lose = 1
    await asked(node)
    first = await node.letter()
    node.bus.come()
    second = await node.letter()
    assert (second.id, second.body) == (first.id, first.body)


async def test_many_answers_are_under_way_at_once_and_not_more_than_agreed(node, monkeypatch):
    monkeypatch.setattr(module, "_UNDER_WAY", 20)
    node.bus.hold()
    for number in range(60):
        node.send(request(id=f"r{number}"))
    await node.accepted(60)
    for lease in await node.house.claim(limit=60):
        await node.house.report(lease, TWO)
    await node.until(lambda: node.bus.tries == 20)
    await node.settle()
    assert node.bus.tries == 20
    node.bus.release()
    assert len({(await node.answer())["requestId"] for _ in range(60)}) == 60


async def test_what_was_under_way_at_a_kill_is_sent_by_the_next_process(node):
    node.bus.hold()
    await asked(node)
    await node.until(lambda: node.bus.tries == 1)
    await node.kill()
    node.bus.release()
    assert (await node.answer())["data"] == 2


# Results


async def test_results_up_to_the_limit_are_inside_and_larger_ones_are_to_be_fetched():
    node = await small(10)
    await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"12345678"'), id="fits")
    assert (await node.answer())["data"] == "12345678"
    job = await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"123456789"'), id="large")
    assert (await node.answer())["data"] == {"resultRef": f"http://here/{job.id}", "size": 11}
    await end(node)


async def test_results_out_of_the_artifacts_are_inside_up_to_a_mebibyte(node):
    text = json.dumps("x" * 900_000).encode()
    await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=text), id="stored")
    assert len((await node.answer())["data"]) == 900_000
    text = json.dumps("x" * 2**20).encode()
    await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=text), id="larger")
    assert (await node.answer())["data"]["size"] == 2**20 + 2


async def test_a_result_that_is_gone_is_a_failure_with_the_reason(node):
    node.send(request())
    await node.accepted()
    read = node.house.artifacts.read

    async def gone(ref, start=0, end=None):
        node.house.artifacts.contents.clear()
        async for part in read(ref, start, end):
            yield part

    node.house.artifacts.read = gone
    await node.work(Outcome(kind=OutcomeKind.SUCCEEDED, result=json.dumps("x" * 900_000).encode()))
    answer = await node.answer()
    assert (answer["status"], answer["data"]) == ("fail", {"code": "result"})
    assert "no such artifact" in answer["message"]


async def test_a_result_that_php_cannot_read_is_to_be_fetched(node):
    deep = b"[" * 600 + b"]" * 600
    job = await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=deep))
    assert (await node.answer())["data"] == {"resultRef": f"http://here/{job.id}", "size": 1200}


async def test_a_result_that_rabbitmq_does_not_take_is_to_be_fetched(node):
    node.bus.largest = 1000
    await asked(node, Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"' + b"x" * 2000 + b'"'))
    assert (await node.answer())["data"]["size"] == 2002


# What clients are told


def ended(state=State.SUCCEEDED, **members) -> Job:
    return Job(id=77, kind="work", payload=b"{}", created=0.0, state=state, **members)


def told(job: Job, data: bytes | None = None) -> dict:
    return json.loads(ending_letter(job, Asker("c", "r"), data).body)


@pytest.mark.parametrize(
    ("job", "status", "message", "data"),
    [
        (ended(), "success", "done", None),
        (ended(message="well done"), "success", "well done", None),
        (ended(State.FAILED, code="boom", message="it broke"), "fail", "it broke", {"code": "boom"}),
        (ended(State.FAILED, code="boom"), "fail", "the job failed (boom)", {"code": "boom"}),
        (ended(State.FAILED), "fail", "the job failed (failed)", {"code": "failed"}),
        (ended(State.FAILED, code="queue_timeout", message="no worker"), "fail", "no worker", {"code": "queue_timeout"}),
        (ended(State.CANCELLED), "fail", "the job was cancelled", {"code": "cancelled"}),
        (ended(State.FAILED, message="half \ud800 of a pair"), "fail", "half ? of a pair", {"code": "failed"}),
    ],
)
def test_ends_of_jobs_in_words_of_the_bus(job, status, message, data):
    answer = told(job)
    assert (answer["status"], answer["message"], answer.get("data")) == (status, message, data)


def test_a_result_stays_as_it_is_written():
    letter = ending_letter(ended(), Asker("c", "r"), b'{"n": 1.50, "big": 123456789012345678901234567890}')
    assert b"1.50" in letter.body
    assert b"123456789012345678901234567890" in letter.body


def test_endless_messages_are_cut():
    assert len(told(ended(State.FAILED, message="x" * 10**6))["message"]) == 16 * 1024


def test_message_ids_follow_from_the_job_and_the_asker():
    ids = {
        ending_letter(ended(), Asker("c", "r"), None).id,
        ending_letter(ended(), Asker("d", "r"), None).id,
        ending_letter(ended(), Asker("c", "s"), None).id,
        unreadable_letter(Job(id=78, kind="work", payload=b"{}", created=0.0), Asker("c", "r"), "").id,
    }
    assert len(ids) == 4
    assert ending_letter(ended(), Asker("c", "r"), b"1").id in ids


# What should not happen, and does


async def test_a_notification_that_is_none_of_ours_is_forgotten(node):
    house = node.house
    job = await house.submit(notify=(Subscriber("jsonbus", "not JSON"),))
    await house.report(await house.lease(), DONE)
    await node.until(lambda: node.counts["answers without a job"] == 1)
    await node.settle()
    assert await house.store.notifications(0, 10) == []
    assert (await house.job(job)).terminal


async def test_a_fault_over_one_answer_delays_that_one_only(node, monkeypatch):
    publish = node.bus.publish

    async def broken(letter):
        if letter.correlation == "bad":
            raise CrossdockError(Code.INTERNAL, "a fault")
        await publish(letter)

    monkeypatch.setattr(node.bus, "publish", broken)
    await asked(node, id="bad")
    await asked(node, id="good")
    assert (await node.answer())["requestId"] == "good"
    await node.settle()
    monkeypatch.setattr(node.bus, "publish", publish)
    await node.advance(30)
    assert (await node.answer())["requestId"] == "bad"


async def test_askers_of_unfinished_jobs_beyond_number_are_put_off(node, monkeypatch):
    monkeypatch.setattr(module, "_WATCHED", 0)
    node.bus.declare("new")
    node.send(request())
    await node.accepted()
    node.send(request(), reply_to="new")
    await node.accepted(2)
    await node.settle()
    await node.work(WRONG)
    assert (await node.answer())["status"] == "fail"
    await node.settle()
    await node.advance(30)
    assert (await node.answer("new"))["status"] == "fail"


async def test_ids_of_jobs_and_cause_are_text(node):
    job = await asked(node)
    letter = await node.letter()
    assert letter.id == Asker("c", "r1").message_id(encode_id(job.id))
