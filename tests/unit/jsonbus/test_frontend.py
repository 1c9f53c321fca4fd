"""The node as a whole on a RabbitMQ in memory: what is accepted when, what is known already, what is refused."""

import asyncio
import json

import pytest

from brokers import ERROR, STEADY, WRONG, House, Valve, turns
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.protocols.jsonbus import hops
from crossdock.protocols.jsonbus.caching import Placed
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.stores.memory import MemoryStore
from jsonbus_node import DEAD, REQUESTS, Node, request

TWO = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"2")
ONCE = Policy(attempts=1)


@pytest.fixture
async def valve():
    """A node over a store whose commits the test holds in its hand."""
    valve = Valve(MemoryStore())
    house = House(reopen=lambda: valve)
    await house.open()
    await house.attach(slots=100)
    node = Node(house)
    await node.open()
    yield node, valve
    await node.close()
    await house.crash()


@pytest.fixture
async def brittle():
    """A node whose jobs have one attempt."""

    def check(payload: bytes) -> None:
        if b"bad" in payload:
            raise CrossdockError(Code.INVALID, "the member 'n' must be a number")

    kinds = {"work": Kind(name="work", policy=ONCE), "picky": Kind(name="picky", policy=STEADY, check=check)}
    house = House(kinds)
    await house.open()
    await house.attach(slots=100)
    node = Node(house)
    await node.open()
    yield node
    await node.close()
    await house.crash()


async def test_a_request_is_answered_with_the_result_of_its_job(node):
    node.send(request(params={"n": 1}))
    await node.accepted()
    job = await node.work(TWO)
    assert (job.kind, job.payload, job.tenant) == ("work", b'{"n": 1}', "jsonbus:c")
    assert await node.answer() == {
        "type": "notification",
        "requestId": "r1",
        "status": "success",
        "message": "done",
        "data": 2,
    }


async def test_a_request_is_acknowledged_when_its_job_is_on_disk_and_not_before(valve):
    node, store = valve
    store.shut()
    node.send(request())
    await turns(50)
    assert node.bus.settlements == []
    store.release()
    await node.accepted()
    assert len(await node.jobs()) == 1


async def test_requests_on_their_way_to_the_disk_share_a_transaction(valve):
    node, store = valve
    store.shut()
    before = store.commits
    for number in range(100):
        node.send(request(id=f"r{number}"))
    await turns(50)
    store.release()
    await node.accepted(100)
    assert store.commits - before <= 3


async def test_a_full_disk_holds_requests_and_neither_loses_nor_returns_them(valve, monkeypatch):
    monkeypatch.setattr("crossdock.core.journal._PROBE", 0.0)
    node, store = valve
    store.error = StoreFull("the disk is full")
    for number in range(5):
        node.send(request(id=f"r{number}"))
    await node.until(lambda: len(node.pauses) > 50)
    assert node.bus.settlements == []
    assert node.pauses[:1] == [0.5]
    assert max(node.pauses) == 5.0
    store.error = None
    await node.accepted(5)
    assert [how for how, _ in node.bus.settlements] == ["accepted"] * 5
    assert len(await node.jobs()) == 5


# Repeated requests


async def test_a_repeated_request_whose_job_runs_is_answered_once(node):
    node.send(request())
    await node.accepted()
    node.send(request())
    await node.accepted(2)
    await node.work()
    assert (await node.answer())["status"] == "success"
    await node.settle()
    assert node.bus.size("c_notify") == 0
    assert len(await node.jobs()) == 1


async def test_a_repeated_request_whose_job_ended_gets_the_stored_answer_under_the_same_message_id(node):
    node.send(request())
    await node.accepted()
    await node.work(TWO)
    first = await node.letter()
    node.send(request())
    second = await node.letter()
    assert (second.id, second.body) == (first.id, first.body)
    assert len(await node.jobs()) == 1


async def test_repeated_requests_are_known_after_a_restart(node):
    node.send(request(params={"n": 1}))
    await node.accepted()
    await node.kill()
    node.send(request(params={"n": 1}))
    await node.accepted(2)
    await node.work(TWO)
    first = await node.letter()
    await node.kill()
    node.send(request(params={"n": 1}))
    assert (await node.letter()).id == first.id
    assert len(await node.jobs()) == 1


async def test_identical_requests_at_the_same_time_are_one_job(valve):
    node, store = valve
    store.shut()
    for _ in range(20):
        node.send(request())
    await turns(50)
    store.release()
    await node.accepted(20)
    assert len(await node.jobs()) == 1
    await node.house.report(await node.house.lease())
    await node.answer()
    await node.settle()
    assert node.bus.size("c_notify") == 0


async def test_the_same_id_for_another_request_is_refused_and_harms_nothing(node):
    node.send(request(params={"n": 1}))
    await node.accepted()
    node.send(request(params={"n": 2}))
    answer = await node.answer()
    assert (answer["status"], answer["data"]) == ("fail", {"code": "conflict"})
    assert "another request" in answer["message"]
    await node.work(TWO)
    assert (await node.answer())["data"] == 2
    assert node.bus.size(DEAD) == 0


async def test_clients_do_not_see_each_other_s_answers(node):
    node.bus.declare("d_notify")
    node.send(request(client="c"))
    node.send(request(client="d"))
    await node.accepted(2)
    await node.work(TWO)
    await node.work(Outcome(kind=OutcomeKind.SUCCEEDED, result=b"3"))
    assert {(await node.answer())["data"], (await node.answer("d_notify"))["data"]} == {2, 3}
    assert [job.tenant for job in await node.jobs()] == ["jsonbus:c", "jsonbus:d"]


@pytest.mark.parametrize("finished", [False, True])
async def test_clients_share_an_answer_if_they_say_so(node, finished):
    node.bus.declare("d_notify")
    params = {"n": 1, "cacheKey": "k"}
    node.send(request(id="mine", client="c", params=params))
    await node.accepted()
    if finished:
        await node.work(TWO)
    node.send(request(id="yours", client="d", params=params))
    await node.accepted(2)
    if not finished:
        await node.work(TWO)
    assert ((await node.answer())["requestId"], (await node.answer("d_notify"))["requestId"]) == ("mine", "yours")
    node.send(request(id="yours", client="d", params=params))
    assert (await node.answer("d_notify"))["data"] == 2
    assert len(await node.jobs()) == 1


async def test_requests_that_share_a_key_and_not_their_content_are_different_jobs(node):
    node.send(request(id="1", params={"n": 1, "cacheKey": "k"}))
    node.send(request(id="2", params={"n": 2, "cacheKey": "k"}))
    await node.accepted(2)
    assert len(await node.jobs()) == 2


async def test_identical_shared_requests_at_the_same_time_are_one_job(valve):
    node, store = valve
    store.shut()
    for number in range(10):
        node.bus.declare(f"c{number}_notify")
        node.send(request(client=f"c{number}", params={"cacheKey": "k"}))
    await turns(50)
    store.release()
    await node.accepted(10)
    await node.house.report(await node.house.lease())
    for number in range(10):
        assert (await node.answer(f"c{number}_notify"))["status"] == "success"
    assert len(await node.jobs()) == 1


async def test_a_request_that_failed_by_accident_is_tried_again(brittle):
    node = brittle
    node.send(request())
    await node.accepted()
    await node.work(ERROR)
    failed = await node.letter()
    assert json.loads(failed.body)["data"] == {"code": "boom"}
    node.send(request())
    await node.accepted(2)
    await node.work(TWO)
    second = await node.letter()
    assert json.loads(second.body)["status"] == "success"
    assert second.id != failed.id
    node.send(request())
    assert (await node.letter()).id == second.id
    assert len(await node.jobs()) == 2


async def test_a_failure_of_the_job_itself_is_not_tried_again(node):
    node.send(request())
    await node.accepted()
    await node.work(WRONG)
    first = await node.letter()
    assert json.loads(first.body)["message"] == "it cannot work"
    node.send(request())
    assert (await node.letter()).id == first.id
    assert len(await node.jobs()) == 1


@pytest.mark.parametrize(("outcome", "again"), [(ERROR, True), (WRONG, False)])
async def test_a_request_whose_need_failed_by_accident_is_tried_again(outcome, again):
    kinds = {"download": Kind(name="download", policy=ONCE), "work": Kind(name="work", needs={"image": "download"})}
    house = House(kinds)
    await house.open()
    await house.attach(slots=100)
    node = Node(house)
    await node.open()
    node.send(request(), headers={"x-hops": 2})
    await node.accepted()
    need = await node.work(outcome)
    assert await hops.read(house.broker.records, need.id) == 2
    await node.settle()
    assert (await node.answer())["data"] == {"code": "need_failed"}
    node.send(request())
    await node.accepted(2)
    assert sum(job.kind == "download" for job in await node.jobs()) == 1 + again
    assert again or (await node.answer())["data"] == {"code": "need_failed"}
    await node.close()
    await house.crash()


async def test_a_cancelled_request_is_a_failure(node):
    node.send(request())
    await node.accepted()
    [job] = await node.jobs()
    await node.house.broker.intake.cancel(job.id)
    answer = await node.answer()
    assert (answer["status"], answer["data"]) == ("fail", {"code": "cancelled"})


async def test_an_answer_counts_for_the_cache_period(node):
    node.send(request())
    await node.accepted()
    await node.work(TWO)
    await node.answer()
    await node.advance(node.options.keep - 1)
    await node.house.broker.sweep()
    node.send(request())
    assert (await node.answer())["data"] == 2
    await node.advance(2)
    node.send(request())
    await node.accepted(3)
    assert [job.terminal for job in await node.jobs()] == [True, False]


async def test_jobs_are_kept_as_long_as_their_answers():
    kinds = {"short": Kind(name="short", policy=Policy(keep=60.0)), "long": Kind(name="long", policy=Policy(keep=1e6))}
    house = House(kinds)
    await house.open()
    node = Node(house, NodeOptions(keep=1000.0))
    await node.open()
    node.send(request(id="1", subject="short"))
    node.send(request(id="2", subject="long"))
    await node.accepted(2)
    keeps = {job.kind: job.overrides and job.overrides.keep for job in await node.jobs()}
    assert keeps["long"] is None
    assert keeps["short"] > 1000.0
    await node.close()
    await house.crash()


async def test_a_job_that_takes_longer_than_the_cache_period_is_known_all_the_same(node):
    node.send(request())
    await node.accepted()
    await node.advance(3 * node.options.keep)
    await node.house.broker.sweep()
    node.send(request())
    await node.accepted(2)
    assert len(await node.jobs()) == 1


async def test_the_hops_of_a_request_are_remembered_for_its_job(node):
    node.send(request(id="far"), headers={"x-hops": 3})
    node.send(request(id="near"))
    await node.accepted(2)
    far, near = await node.jobs()
    assert await hops.read(node.house.broker.records, far.id) == 3
    assert await hops.read(node.house.broker.records, near.id) == 0


@pytest.mark.parametrize(
    ("value", "count"), [(3, 3), (-1, 0), (True, 0), (None, 0), ("a,b", 2), ("", 0), (10**30, 1_000_000), (1.5, 0)]
)
def test_hops_are_read_from_whatever_others_send(value, count):
    assert hops.from_headers({"x-hops": value}) == count
    assert hops.from_headers({}) == 0


# What is refused


async def test_a_circle_of_nodes_ends(node):
    node.send(request(), headers={"x-hops": 17})
    answer = await node.answer()
    assert (answer["status"], answer["data"]) == ("fail", {"code": "circle"})
    await node.accepted()
    assert node.bus.size(DEAD) == 0
    assert await node.jobs() == []


async def test_an_unknown_subject_is_answered_with_what_could_be_meant(node):
    node.send(request(subject="wrk"))
    answer = await node.answer()
    assert (answer["status"], answer["data"]) == ("fail", {"code": "not_found"})
    assert "'work'" in answer["message"]
    await node.accepted()
    assert node.bus.size(DEAD) == 0


async def test_a_payload_that_the_kind_refuses_is_answered_with_the_reason(brittle):
    brittle.send(request(subject="picky", params={"n": "bad"}))
    answer = await brittle.answer()
    assert (answer["data"], answer["message"]) == ({"code": "invalid"}, "the member 'n' must be a number")
    await brittle.accepted()
    assert brittle.bus.size(DEAD) == 0


async def test_a_malformed_request_is_answered_and_kept_with_the_reason(node):
    body = b'{"type": "request", "id": "r9", "clientId": "c", "subject": 5}'
    node.send(body)
    answer = await node.answer()
    assert (answer["requestId"], answer["status"]) == ("r9", "fail")
    reason, kept = await node.dead()
    assert "subject" in reason
    assert kept == body
    await node.accepted()


NESTED = b'{"type":"request","id":"deep","clientId":"c","subject":"work","data":' + b"[" * 600 + b"]" * 600 + b"}"
POISON = {
    "not JSON": b"{",
    "empty": b"",
    "bad UTF-8": b'{"type":"request","id":"\xff","clientId":"c","subject":"work"}',
    "10 MB of nothing": b"x" * 10_000_000,
    "10 MB of brackets": b"[" * 10_000_000,
    "nested": NESTED,
    "a list": b"[1]",
    "wrong types": b'{"type":"request","id":7,"clientId":[],"subject":{},"params":"x"}',
    "no type": b'{"id":"1","clientId":"c","subject":"work"}',
    "half a surrogate": b'{"type":"request","id":"1","clientId":"c","subject":"\\ud800"}',
    "a result": b'{"type":"result","job":{"id":"1","taskId":"1","createTime":"","status":"success"}}',
    "no queue": b'{"type":"request","id":"1","clientId":"../etc","subject":"work"}',
}


@pytest.mark.parametrize("body", POISON.values(), ids=POISON.keys())
async def test_poison_is_kept_with_a_reason_and_the_next_request_has_its_turn(node, body):
    node.send(body)
    node.send(request(id="after"))
    await node.accepted(2)
    reason, kept = await node.dead()
    assert reason
    assert kept == body
    assert [job.kind for job in await node.jobs()] == ["work"]
    assert node.bus.queues[REQUESTS].unsettled == []


async def test_a_request_of_10_mb_is_a_job_with_a_large_payload(node):
    node.send(request(data="x" * 10_000_000))
    await node.accepted()
    [job] = await node.jobs()
    assert job.payload.size > 10_000_000


async def test_a_refusal_waits_a_little_for_its_client_and_is_then_kept(node):
    node.send(request(client="gone", subject="nothing"))
    reason, _ = await node.dead()
    assert "no kind of job" in reason
    assert "no queue" in reason
    assert node.pauses == [1.0, 5.0]
    await node.accepted()


@pytest.mark.parametrize("trouble", ["full", "forbidden"])
async def test_a_refusal_that_a_queue_does_not_take_is_kept_and_makes_room(node, trouble):
    node.bus.declare("odd")
    if trouble == "full":
        node.bus.full.add("odd")
    else:
        node.bus.forbidden.add("")
    number = node.options.prefetch + 1
    for each in range(number):
        node.send(request(id=f"odd{each}", subject="nothing"), reply_to="odd")
    node.send(request(id="even"))
    await node.accepted(number + 1)
    assert node.bus.size(DEAD) == number
    assert (await node.work(TWO)).payload == b"{}"
    assert (await node.answer())["requestId"] == "even"


async def test_a_full_queue_of_dead_letters_stops_nobody(node):
    node.bus.full.add("svc.crossdock.requests")
    node.send(b"no json")
    node.send(request())
    await node.accepted()
    await node.until(lambda: [how for how, _ in node.bus.settlements].count("dead") == 1)


async def test_a_refusal_reaches_a_client_that_comes_a_little_later(node):
    async def late(seconds: float) -> None:
        node.bus.declare("late_notify")

    node.frontend._sleep = late
    node.send(request(client="late", subject="nothing"))
    assert (await node.answer("late_notify"))["status"] == "fail"
    await node.accepted()
    assert node.bus.size(DEAD) == 0


async def test_a_refusal_waits_for_the_connection(node):
    node.bus.hold()
    node.send(request(subject="nothing"))
    await node.until(lambda: node.bus.tries == 1)
    node.bus.go()
    node.bus.release()
    await turns()
    node.bus.come()
    assert (await node.answer())["data"] == {"code": "not_found"}


async def test_a_refusal_that_is_delivered_twice_has_one_message_id(node):
    node.bus.lose = 1
    node.send(request(subject="nothing"))
    first = await node.letter()
    node.bus.come()
    assert (await node.letter()).id == first.id


async def test_without_a_queue_for_dead_letters_rabbitmq_is_left_to_do_it(node):
    node.bus.vanish(DEAD)
    node.send(b"{")
    await node.until(lambda: node.bus.settlements)
    assert node.bus.settlements[0][0] == "dead"


async def test_a_fault_of_ours_gives_the_request_back_until_rabbitmq_has_enough(node, monkeypatch):
    def broken(*_):
        raise ValueError("a fault")

    monkeypatch.setattr("crossdock.protocols.jsonbus.frontend.judge", broken)
    node.send(request())
    letter = await node.bus.get(DEAD)
    assert letter.headers["x-first-death-reason"] == "delivery_limit"
    assert [how for how, _ in node.bus.settlements] == ["requeued"] * 11


# Ends and beginnings


async def test_requests_that_were_not_acknowledged_come_again_after_a_kill(valve):
    node, store = valve
    store.shut()
    for number in range(300):
        node.send(request(id=f"r{number}"))
    await turns(50)
    assert len(node.bus.queues[REQUESTS].unsettled) == node.options.prefetch
    await node.close()
    node.bus.go()
    await node.house.crash()
    store.release()
    await node.house.open()
    node.bus.come()
    await node.open()
    await node.accepted(300)
    assert len(await node.jobs()) == 300


async def test_a_door_that_closes_settles_what_it_took(valve):
    node, store = valve
    store.shut()
    node.send(request(id="taken"))
    await turns(50)
    closing = asyncio.create_task(node.frontend.stop())
    await turns()
    node.send(request(id="left"))
    store.release()
    await closing
    assert len(await node.jobs()) == 1
    assert node.bus.size(REQUESTS) == 1


async def test_what_goes_on_is_counted(node):
    node.send(request())
    await node.accepted()
    node.send(request())
    node.send(request(params={"n": 1}))
    node.send(b"{")
    await node.accepted(4)
    assert node.frontend.placed == {Placed.NEW: 1, Placed.WAITING: 1}
    assert node.counts == {"requests refused": 1, "requests that are none": 1, "dead letters": 1}
