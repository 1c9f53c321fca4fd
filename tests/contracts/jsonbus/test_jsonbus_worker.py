"""The worker role: jobs from our own queue or the PHP library's, on a broker in memory and on RabbitMQ."""

from collections.abc import AsyncIterator

import pytest

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import ArtifactRef, Outcome, OutcomeKind
from crossdock.core.requests import Capabilities, Note, WorkerInfo
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.names import results_queue
from crossdock.protocols.jsonbus.topology import JOBS
from crossdock.protocols.jsonbus.worker import JsonbusArtifacts, JsonbusDispatch
from crossdock.protocols.jsonbus.worker_address import parse_connect
from jsonbus_bus import MemoryBus

from .worker_scene import NODE, MemoryScene, RabbitScene, Scene


@pytest.fixture(params=["own", "foreign"])
def own(request: pytest.FixtureRequest) -> bool:
    return request.param == "own"


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.acceptance)])
async def scene(request: pytest.FixtureRequest, own: bool) -> AsyncIterator[Scene]:
    if request.param == "memory":
        scene: Scene = MemoryScene(own)
    else:
        scene = RabbitScene(own, request.getfixturevalue("vhost"))
    await scene.open()
    yield scene
    await scene.close()


async def test_a_job_is_done_and_answered(scene: Scene):
    crew = await scene.crew()
    await scene.push("a", width=3)
    assert await scene.result() == {
        "type": "result",
        "job": {
            "type": "job",
            "id": "a",
            "taskId": "t-a",
            "createTime": "22-11-2026 17:01:45",
            "status": "success",
            "attempt": 1,
            "params": {"job": "a", "width": 3},
            "unknown": [1],
        },
        "data": {"job": "a", "width": 3},
    }
    queue = f"svc.{NODE}.jobs" if scene.own else f"{NODE}_jobs"
    assert crew.said == [f"crossdock: jobs come from the queue {queue}, results go out under the key {NODE}_results"]


async def test_no_more_jobs_than_slots_run_and_the_others_wait_for_everybody(scene: Scene):
    first = await scene.crew("first", slots=2)
    first.hands.free.clear()
    for number in range(5):
        await scene.push(f"j{number}")
    await first.hands.begun(2)
    second = await scene.crew("second", slots=3)
    await second.hands.begun(3)
    first.hands.free.set()
    done = {(await scene.result())["job"]["id"] for _ in range(5)}
    assert done == {f"j{number}" for number in range(5)}
    assert (first.hands.most, len(first.hands.runs)) == (2, 2)


async def test_jobs_taken_ahead_wait_here_for_a_slot(scene: Scene):
    first = await scene.crew("first", slots=1, parameters="ahead=2")
    first.hands.free.clear()
    for number in range(4):
        await scene.push(f"j{number}")
    await first.hands.begun(1)
    second = await scene.crew("second", slots=3)
    await second.hands.begun(1)
    first.hands.free.set()
    done = {(await scene.result())["job"]["id"] for _ in range(4)}
    assert done == {f"j{number}" for number in range(4)}
    assert (first.hands.most, len(first.hands.runs), len(second.hands.runs)) == (1, 3, 1)


async def test_a_failure_is_answered_with_its_code(scene: Scene):
    crew = await scene.crew()
    crew.hands.outcome = Outcome(kind=OutcomeKind.FAILED, code="no_image", message="it is no image")
    await scene.push("a")
    result = await scene.result()
    assert result["job"]["status"] == "fail"
    assert result["data"] == {"code": "no_image", "message": "it is no image", "outcome": "failed"}


async def test_a_task_is_done_too(scene: Scene):
    await scene.crew()
    await scene.push_raw(b'{"type":"task","id":"t","requestId":"r","createTime":"","status":"active","params":{"a":1}}')
    result = await scene.result()
    assert (result["job"]["id"], result["job"]["taskId"], result["data"]) == ("t", "t", {"a": 1})


async def test_poison_stops_nobody(scene: Scene):
    await scene.crew()
    poison = [b"garbage", b"\xff\xfe\x00", b"[" * 600, b'{"type":"job","id":7}', b"x" * 1_000_000]
    for body in poison:
        await scene.push_raw(body)
    await scene.push("sound")
    assert (await scene.result())["job"]["id"] == "sound"
    if scene.own:
        assert {await scene.dead.get() for _ in poison} == set(poison)


async def test_a_job_that_runs_while_the_connection_is_lost_runs_once_and_is_answered(scene: Scene):
    crew = await scene.crew(slots=2)
    crew.hands.free.clear()
    await scene.push("a")
    await crew.hands.begun(1)
    await scene.lose_connections()
    await scene.push_again("b")
    await crew.hands.begun(2)
    crew.hands.free.set()
    done = sorted([(await scene.result())["job"]["id"], (await scene.result())["job"]["id"]])
    assert done == ["a", "b"]
    assert [run["job"] for run in crew.hands.runs] == ["a", "b"]
    await crew.drained()
    assert scene.results.empty()


async def test_a_drained_worker_ends_what_runs_and_leaves_the_rest_to_others(scene: Scene):
    old = await scene.crew("old", slots=2)
    old.hands.free.clear()
    await scene.push("running")
    await old.hands.begun(1)
    new = await scene.crew("new")
    await scene.consumers(2)
    old.control.drain()
    await scene.until(lambda: old.dispatch._session.leaving)
    for name in ("waiting", "also"):
        await scene.push(name)
    assert {(await scene.result())["job"]["id"] for _ in range(2)} == {"waiting", "also"}
    old.hands.free.set()
    assert (await scene.result())["job"]["id"] == "running"
    await old.drained()
    assert [run["job"] for run in old.hands.runs] == ["running"]
    assert len(new.hands.runs) == 2


async def test_a_released_job_is_done_by_another_worker(scene: Scene):
    old = await scene.crew("old")
    old.hands.free.clear()
    await scene.push("a")
    await old.hands.begun(1)
    new = await scene.crew("new")
    await scene.consumers(2)
    await old.released()
    await new.hands.begun(1)
    assert (await scene.result())["job"]["status"] == "success"


async def test_a_result_that_is_too_large_is_a_failure_that_says_so(scene: Scene):
    crew = await scene.crew(parameters="largest=2000")
    crew.hands.outcome = Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"%s"' % (b"x" * 3000))
    await scene.push("a")
    result = await scene.result()
    assert result["job"]["status"] == "fail"
    assert result["data"]["code"] == "too_large"
    assert "a message here at most 2,000; return where it lies instead" in result["data"]["message"]


async def test_a_long_job_is_acknowledged_while_it_runs_and_its_slot_stays_taken(scene: Scene):
    crew = await scene.crew(slots=1, parameters="ack_after=1")
    crew.hands.free.clear()
    await scene.push("long")
    await crew.hands.begun(1)
    await scene.until(lambda: crew.dispatch._session.acknowledged == 1)
    other = await scene.crew("other")
    await scene.push("short")
    await other.hands.begun(1)
    assert (await scene.result())["job"]["id"] == "short"
    crew.hands.free.set()
    assert (await scene.result())["job"]["id"] == "long"
    assert len(crew.hands.runs) == 1


# On the broker in memory alone


@pytest.fixture
async def memory() -> AsyncIterator[MemoryScene]:
    scene = MemoryScene(own=True)
    await scene.open()
    yield scene
    await scene.close()


async def test_a_job_is_acknowledged_after_its_result_is_confirmed(memory: MemoryScene):
    memory.bus.hold()
    crew = await memory.crew()
    jobs = memory.bus.queues[f"svc.{NODE}.jobs"]
    job = b'{"type":"job","id":"a","taskId":"t","createTime":"","status":"new"}'
    memory.bus.route(Letter(body=job, key=f"{NODE}_jobs", kind="job", id="", exchange=JOBS))
    await memory.until(lambda: memory.bus.tries > 0)
    assert [delivery.settled for delivery in jobs.unsettled] == [""]
    memory.bus.release()
    await memory.result()
    await memory.until(lambda: not jobs.unsettled)
    assert len(crew.hands.runs) == 1


async def test_a_result_whose_confirm_was_lost_is_sent_again_and_is_the_same(memory: MemoryScene):
    crew = await memory.crew()
    crew.hands.free.clear()
    await memory.push("a")
    await crew.hands.begun(1)
    memory.bus.lose = 1
    crew.hands.free.set()
    first, second = await memory.result(), await memory.result()
    assert first == second
    letters = [letter for letter in memory.bus.letters if letter.kind == "result"]
    assert letters[0].id == letters[1].id


async def test_a_worker_waits_for_the_node_to_take_its_result(memory: MemoryScene):
    memory.bus.vanish(results_queue(NODE))
    await memory.crew()
    await memory.push("a")
    tries = memory.bus.tries
    await memory.until(lambda: memory.bus.tries > tries + 1)
    memory.declare_results()
    assert (await memory.result())["job"]["id"] == "a"


async def test_a_worker_that_came_first_finds_our_queue_later_and_stays_at_the_other():
    scene = MemoryScene(own=False)
    await scene.open()
    try:
        crew = await scene.crew(slots=2)
        await scene.push("before")
        await scene.result()
        scene.declare_own()
        await scene.push("own", own=True)
        assert (await scene.result())["job"]["id"] == "own"
        await scene.push("foreign", own=False)
        assert (await scene.result())["job"]["id"] == "foreign"
        assert len(crew.said) == 2
    finally:
        await scene.close()


async def test_what_the_ports_have_and_json_bus_has_not():
    dispatch = JsonbusDispatch(MemoryBus(), parse_connect("jsonbus+amqp://host"))
    info = WorkerInfo(id="w", capabilities=Capabilities(values={"kind": ("echo",)}))
    with pytest.raises(CrossdockError, match="not attached"):
        await dispatch.claim("w", 1)
    await dispatch.attach(info)
    assert await dispatch.claim("w", 1, 0.01) == []
    await dispatch.note(1, Note(log="a line"))
    assert (await dispatch.report(1, Outcome(kind=OutcomeKind.SUCCEEDED))).late
    assert (await dispatch.report_members(1, [])).late
    await dispatch.detach("w")
    artifacts = JsonbusArtifacts()
    with pytest.raises(CrossdockError, match="no place for artifacts"):
        await artifacts.put(b"x")
    with pytest.raises(CrossdockError, match="no place for artifacts"):
        await anext(artifacts.read(ArtifactRef("0" * 64, 1)))
