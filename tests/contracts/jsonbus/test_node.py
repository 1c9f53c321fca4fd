"""What clients may expect of a node, whatever carries their messages: the same suite over RabbitMQ and over memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import pytest

from contracts.jsonbus.node_scene import DONE, MemoryStation, RabbitStation, Scene, scene_at
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.jsonbus.caching import Placed
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.schemas import SCHEMAS

DEAD = "svc.crossdock.requests.dead"
FAILED = Outcome(kind=OutcomeKind.FAILED, code="wrong", message="it cannot work")


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.acceptance)])
async def station(request: pytest.FixtureRequest) -> MemoryStation | RabbitStation:
    if request.param == "memory":
        return MemoryStation()
    station = RabbitStation(request.getfixturevalue("vhost").url)
    await station.open()
    return station


@pytest.fixture
async def scene(station: MemoryStation | RabbitStation, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_at(tmp_path, station) as scene:
        yield scene


async def test_a_request_is_answered_by_one_notification(scene: Scene):
    await scene.ask(params={"n": 1}, data=[1, 2])
    [lease] = await scene.leases()
    assert json.loads(lease.payload) == {"n": 1, "data": [1, 2]}
    await scene.broker.dispatch.report(lease.token, DONE)
    got = await scene.get()
    assert got.message == {
        "type": "notification",
        "requestId": "r1",
        "status": "success",
        "message": "done",
        "data": {"n": 1},
    }
    assert (got.correlation, bool(got.id)) == ("r1", True)
    assert await scene.silent()


async def test_every_answer_fits_the_published_schema(scene: Scene):
    await scene.ask("good")
    await scene.ask("bad")
    await scene.ask("unknown", subject="nothing")
    await scene.ask("malformed", subject=7)
    await scene.ask("circle", hops=17)
    for number, lease in enumerate(await scene.leases(2)):
        await scene.broker.dispatch.report(lease.token, (DONE, FAILED)[number])
    statuses = {}
    for _ in range(5):
        message = (await scene.get()).message
        jsonschema.validate(message, SCHEMAS["notification"])
        statuses[message["requestId"]] = message["status"]
    assert statuses == {"good": "success", "bad": "fail", "unknown": "fail", "malformed": "fail", "circle": "fail"}


async def test_a_client_may_name_the_queue_of_its_answer(scene: Scene):
    await scene.station.declare("mailbox")
    await scene.ask(client="not a name of a queue", reply_to="mailbox")
    await scene.work()
    assert (await scene.get("mailbox")).message["status"] == "success"


async def test_a_repeated_request_is_answered_again_and_not_done_again(scene: Scene):
    await scene.ask()
    await scene.work()
    first = await scene.get()
    await scene.ask()
    second = await scene.get()
    assert (second.id, second.body) == (first.id, first.body)
    assert len(await scene.jobs()) == 1


async def test_requests_that_come_many_times_at_once_are_done_and_answered_once(scene: Scene):
    await asyncio.gather(*(scene.ask() for _ in range(30)))
    async with asyncio.timeout(30):
        while scene.frontend.placed[Placed.WAITING] < 29:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)
    await scene.work()
    assert (await scene.get()).message["status"] == "success"
    assert await scene.silent()
    assert len(await scene.jobs()) == 1


async def test_an_id_stands_for_one_request_only(scene: Scene):
    await scene.ask(params={"n": 1})
    await scene.ask(params={"n": 2})
    got = await scene.get()
    assert (got.message["status"], got.message["data"]) == ("fail", {"code": "conflict"})
    assert [job.payload for job in await scene.jobs()] == [b'{"n": 1}']


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
async def test_a_node_that_ends_loses_nothing_and_answers_everything_once(scene: Scene, kill: bool):
    for number in range(300):
        await scene.ask(f"r{number}")
    await scene.work(10)
    await scene.restart(kill=kill)
    for number in range(300, 310):
        await scene.ask(f"r{number}")
    await scene.work(300)
    answers: dict[str, set[str]] = {}
    while len(answers) < 310:
        got = await scene.get()
        answers.setdefault(got.message["requestId"], set()).add(got.id)
    while (more := await scene.station.take("c_notify")) is not None:
        answers[more.message["requestId"]].add(more.id)
    assert answers.keys() == {f"r{number}" for number in range(310)}
    assert all(len(ids) == 1 for ids in answers.values())  # one that is repeated has the same id
    assert len(await scene.jobs()) == 310


async def test_requests_wait_for_a_node_that_is_away(scene: Scene):
    await scene.close()
    await scene.ask("meanwhile")
    await scene.open()
    await scene.work()
    assert (await scene.get()).message["requestId"] == "meanwhile"


async def test_answers_are_sent_again_until_the_client_has_a_queue(scene: Scene):
    await scene.station.vanish("c_notify")
    await scene.ask()
    await scene.work()
    await _put_off(scene)
    await scene.station.declare("c_notify")
    assert (await scene.get()).message["status"] == "success"


async def test_an_answer_that_waits_comes_at_once_if_the_request_is_repeated(scene: Scene):
    await scene.station.vanish("c_notify")
    await scene.ask()
    await scene.work()
    await _put_off(scene, times=2)  # the next try is 5 seconds away
    await scene.station.declare("c_notify")
    await scene.ask()
    async with asyncio.timeout(3):
        assert (await scene.get()).message["status"] == "success"
    assert await scene.silent()


async def test_what_waits_for_its_client_waits_after_a_restart_too(scene: Scene):
    await scene.station.vanish("c_notify")
    await scene.ask()
    await scene.work()
    await _put_off(scene)
    await scene.restart(kill=True)
    await scene.station.declare("c_notify")
    assert (await scene.get()).message["status"] == "success"


POISON = [
    b"",
    b"{",
    b"[" * 10_000_000,
    b"x" * 10_000_000,
    b'{"type":"request","id":"1","clientId":"c","subject":"work","data":' + b"[" * 600 + b"]" * 600 + b"}",
    b'{"type":"request","id":"\xff","clientId":"c","subject":"work"}',
    b'{"type":"request","id":7,"clientId":[],"subject":{},"params":"x"}',
    b'{"type":"Request","id":"1","clientId":"c","subject":"work"}',
    b'{"type":"task","id":"1","requestId":"1","createTime":"","status":"wait"}',
    b'{"type":"request","id":"1","clientId":"../etc","subject":"work"}',
]


async def test_poison_is_kept_with_its_reason_and_stops_nothing(scene: Scene):
    for body in POISON:
        await scene.station.send(body)
    await scene.ask("after")
    await scene.work()
    while (got := await scene.get()).message["requestId"] != "after":
        assert got.message["status"] == "fail"
    dead = [await scene.get(DEAD) for _ in POISON]
    assert sorted(one.body for one in dead) == sorted(POISON)
    for one in dead:
        assert one.headers["x-reason"]
        assert one.headers["x-original-key"] == "requests"
    assert await scene.station.take(DEAD) is None


async def test_large_results_are_fetched(station, tmp_path):
    async with scene_at(tmp_path, station, NodeOptions(inline=1000)) as scene:
        await scene.ask("small")
        await scene.work(outcome=Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"' + b"x" * 998 + b'"'))
        assert len((await scene.get()).message["data"]) == 998
        await scene.ask("large")
        await scene.work(outcome=Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"' + b"x" * 999 + b'"'))
        data = (await scene.get()).message["data"]
        assert data["size"] == 1001
        assert data["resultRef"].startswith("http://here/jsonbus/results/")


async def test_a_request_of_10_mb_is_done_and_its_result_of_900_kb_comes_back(scene: Scene):
    await scene.ask(data="x" * 10_000_000)
    await scene.work(outcome=Outcome(kind=OutcomeKind.SUCCEEDED, result=json.dumps("y" * 900_000).encode()))
    assert len((await scene.get()).message["data"]) == 900_000


async def _put_off(scene: Scene, times: int = 1) -> None:
    """Wait until an answer found no queue."""
    async with asyncio.timeout(30):
        while scene.frontend.counters.values["answers without a queue"] < times:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)
