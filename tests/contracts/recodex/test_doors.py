"""The conformance checklist for the broker over real sockets: frames, order and texts of the original programs."""

import asyncio

import pytest

from contracts.recodex.doors_scene import ANY_PORT, Scene, scene_at
from crossdock.core.lifecycle import State
from crossdock.protocols.recodex.options import RecodexOptions

QUICK = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, ping_interval=0.25)
"""A worker is lost after a second."""


@pytest.fixture
async def scene(tmp_path):
    async with scene_at(tmp_path) as opened:
        yield opened


@pytest.fixture
async def quick(tmp_path):
    async with scene_at(tmp_path, QUICK) as opened:
        yield opened


async def test_a_job_goes_from_client_to_worker_and_back(scene: Scene):
    worker, client = await scene.ready_worker("group1", "env=c", "", "description=w"), scene.client()
    assert await client.eval("student_1", "hwgroup=group1", "env=c") == ["accept"]
    [job] = await scene.jobs()
    assert job.kind == "evaluation"
    assert await worker.job() == ["eval", "student_1", "http://a/1.zip", "http://r/1"]
    await worker.say("progress", "student_1", "DOWNLOADED")
    await worker.say("progress", "student_1", "TASK", "t1", "COMPLETED")
    await worker.say("done", "student_1", "OK", "")
    [job] = await scene.ended()
    assert job.state is State.SUCCEEDED
    assert job.result == b'{"status":"OK","result_url":"http://r/1"}'
    assert scene.fed == [("student_1", "DOWNLOADED"), ("student_1", "TASK", "t1", "COMPLETED")]
    assert scene.stray == []
    steps = [entry.data for entry in await scene.broker.intake.entries(job.id, 0) if entry.event == "step"]
    assert steps == [b'{"phase":"DOWNLOADED","task":"","state":""}', b'{"phase":"TASK","task":"t1","state":"COMPLETED"}']


async def test_the_counters_have_the_names_and_the_order_of_the_original(scene: Scene):
    client = scene.client()
    await client.say("get-runtime-stats")
    frames = await client.hear()
    assert frames == [
        "evaluated-jobs", "0", "failed-jobs", "0", "idle-worker-count", "0", "jobs-in-progress", "0",
        "queued-jobs", "0", "worker-count", "0", "is-frozen", "0",
    ]  # fmt: skip
    worker = await scene.ready_worker()
    for name in ("one", "two"):
        assert await client.eval(name) == ["accept"]
    await worker.job()
    stats = await client.stats()
    assert (stats["worker-count"], stats["jobs-in-progress"], stats["queued-jobs"]) == ("1", "1", "1")
    await worker.say("done", "one", "OK", "")
    await worker.job()
    await worker.say("done", "two", "FAILED", "no")
    await scene.ended(2)
    stats = await client.stats()
    assert (stats["evaluated-jobs"], stats["failed-jobs"], stats["idle-worker-count"]) == ("1", "1", "1")


async def test_a_frozen_broker_rejects_jobs_also_after_a_restart(scene: Scene):
    await scene.ready_worker()
    client = scene.client()
    assert await client.eval("before") == ["accept"]
    await client.say("freeze", "ignored")
    assert await client.hear() == ["ack"]
    assert await client.eval("during") == ["reject", "The broker is frozen."]
    assert scene.stray == []
    await scene.restart()
    assert await client.eval("later") == ["reject", "The broker is frozen."]
    assert (await client.stats())["is-frozen"] == "1"
    await client.say("unfreeze")
    assert await client.hear() == ["ack"]
    await scene.ready_worker()
    assert await client.eval("after") == ["accept"]


async def test_a_job_that_no_worker_could_take_is_rejected_with_its_headers_by_name(scene: Scene):
    await scene.ready_worker("group1", "env=c")
    client = scene.client()
    reply = await client.eval("j", "x=2", "env=java", "x=1", "hwgroup=group1")
    assert reply == ["reject", "No worker available for given headers: env=java; hwgroup=group1; x=2; x=1; "]
    assert scene.stray == scene.fed == [("j", "FAILED")]
    assert await scene.jobs() == []


async def test_a_job_that_no_worker_could_take_waits_if_that_is_asked_for(tmp_path):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, no_worker="queue")
    async with scene_at(tmp_path, options) as scene:
        assert await scene.client().eval("j", "env=c") == ["accept"]
        worker = scene.worker()
        await worker.say("init", "group1", "env=c")
        assert (await worker.job())[1] == "j"


@pytest.mark.parametrize(
    ("headers", "worker"),
    [
        ((), ("g",)),
        (("hwgroup=a|g",), ("g",)),
        (("threads=2",), ("g", "threads=4")),
        (("threads= 4x",), ("g", "threads=4")),
        (("env=c", "env=python"), ("g", "env=python", "env=c")),
        (("justaword",), ("g", "justaword=justaword")),
        (("kind=gpu",), ("g", "kind=gpu")),
    ],
)
async def test_headers_that_a_worker_meets(scene: Scene, headers, worker):
    capable = await scene.ready_worker(*worker)
    assert await scene.client().eval("j", *headers) == ["accept"]
    assert (await capable.job())[1] == "j"


@pytest.mark.parametrize(
    ("headers", "worker"),
    [
        (("hwgroup=a|b",), ("g",)),
        (("hwgroup=",), ("g",)),
        (("threads=8",), ("g", "threads=4")),
        (("threads=-1",), ("g", "threads=4")),
        (("threads=1",), ("g", "threads=many")),
        (("env=c", "env=java"), ("g", "env=python", "env=c")),
        (("env=C",), ("g", "env=c")),
        (("kind=gpu",), ("g",)),
        (("kind=evaluation",), ("g",)),
    ],
)
async def test_headers_that_a_worker_does_not_meet(scene: Scene, headers, worker):
    await scene.ready_worker(*worker)
    verdict, text = await scene.client().eval("j", *headers)
    assert verdict == "reject"
    assert text.startswith("No worker available for given headers: ")


async def test_the_oldest_dialect_has_no_empty_frame_and_no_ack(scene: Scene):
    worker, client = await scene.ready_worker("group1"), scene.client()
    await client.say("eval", "j", "hwgroup=group1", "http://a?x=1", "http://r")
    assert await client.hear() == ["accept"]
    assert await worker.job() == ["eval", "j", "http://a?x=1", "http://r"]
    await worker.say("done", "j", "ERR")
    [job] = await scene.ended()
    assert (job.state, job.attempt) == (State.FAILED, 1)
    await client.say("eval", "k", "hwgroup=other", "http://a", "http://r")
    assert (await client.hear())[0] == "reject"


async def test_a_stranger_that_pings_is_asked_to_introduce_itself(scene: Scene):
    worker = scene.worker()
    await worker.say("ping")
    assert await worker.hear() == ["intro"]
    await worker.say("init", "group1", "env=c")
    await worker.say("ping")
    assert await worker.hear() == ["pong"]
    await worker.say("init", "group1", "env=c", "", "description=other")
    await worker.say("ping")
    assert await worker.hear() == ["pong"]
    assert (await scene.client().stats())["worker-count"] == "1"


async def test_a_second_init_with_other_headers_replaces_the_first(scene: Scene):
    worker, client = await scene.ready_worker("group1", "env=c"), scene.client()
    await worker.init("group2", "env=java")
    assert (await client.stats())["worker-count"] == "1"
    assert (await client.eval("old", "env=c"))[0] == "reject"
    assert await client.eval("new", "hwgroup=group2", "env=java") == ["accept"]
    assert (await worker.job())[1] == "new"


async def test_a_failed_job_is_not_tried_again(scene: Scene):
    worker = await scene.ready_worker()
    assert await scene.client().eval("j") == ["accept"]
    await worker.job()
    await worker.say("done", "j", "FAILED", "bad job config")
    [job] = await scene.ended()
    assert (job.state, job.message, job.attempt) == (State.FAILED, "bad job config", 1)
    [notification] = await scene.broker.outbox.claim("recodex", 1, 5.0)
    assert (notification.address, notification.event) == ('{"id":"j"}', "failed")


async def test_an_internal_error_is_tried_again_three_times_in_all(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    assert await client.eval("j") == ["accept"]
    for _ in range(3):
        assert await worker.job() == ["eval", "j", "http://a/1.zip", "http://r/1"]
        await worker.say("done", "j", "INTERNAL_ERROR", "no disk")
    [job] = await scene.ended()
    text = "Job was reassigned too many (2) times. Last failure message was: no disk"
    assert (job.state, job.message, job.attempt) == (State.FAILED, text, 3)
    assert scene.fed == [("j", "FAILED"), ("j", "FINISHED")]
    pauses = [entry.data for entry in await scene.broker.intake.entries(job.id, 0) if entry.event == "retrying"]
    assert [b'"after":0.0' in data for data in pauses] == [True, True]
    assert (await client.stats())["failed-jobs"] == "3"


async def test_how_often_a_job_is_tried_is_the_broker_s_to_say(tmp_path):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, max_request_failures=2)
    async with scene_at(tmp_path, options) as scene:
        worker = await scene.ready_worker()
        assert await scene.client().eval("j") == ["accept"]
        for _ in range(2):
            await worker.job()
            await worker.say("done", "j", "INTERNAL_ERROR", "no disk")
        [job] = await scene.ended()
        assert job.message == "Job was reassigned too many (1) times. Last failure message was: no disk"


async def test_the_job_of_a_dead_worker_goes_to_another_one(quick: Scene):
    dead, client = await quick.ready_worker(), quick.client()
    assert await client.eval("j") == ["accept"]
    await dead.job()
    other = quick.worker()
    await other.say("init", "group1")
    pings = asyncio.create_task(_keep_alive(other))
    assert (await other.job())[1] == "j"
    await quick.until(lambda: ("j", "ABORTED") in quick.fed, "the news that the job was aborted")
    await other.say("done", "j", "OK", "")
    [job] = await quick.ended()
    pings.cancel()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)


async def test_a_job_that_kills_three_workers_has_failed(quick: Scene):
    for attempt in range(3):
        worker = await quick.ready_worker()
        if attempt == 0:
            assert await quick.client().eval("j") == ["accept"]
        pings = asyncio.create_task(_keep_alive(worker))
        await worker.job()
        pings.cancel()
    [job] = await quick.ended()
    text = (
        "Job was reassigned too many (2) times. Last failure message was: Worker timed out and its job cannot be reassigned"
    )
    assert (job.state, job.message) == (State.FAILED, text)
    assert quick.fed[-2:] == [("j", "FAILED"), ("j", "FINISHED")]


async def test_a_worker_that_never_pings_is_forgotten(quick: Scene):
    await quick.ready_worker()
    client = quick.client()

    async def alone() -> bool:
        return (await client.stats())["worker-count"] == "0"

    await quick.until(alone, "the end of the silent worker")


async def test_a_job_may_take_longer_than_a_lease_while_its_worker_pings(tmp_path):
    async with scene_at(tmp_path, lease=2.5) as scene:
        worker = await scene.ready_worker()
        assert await scene.client().eval("j") == ["accept"]
        await worker.job()
        pings = asyncio.create_task(_keep_alive(worker))
        await asyncio.sleep(5.0)  # that nothing happens in this time is the point
        await worker.say("done", "j", "OK", "")
        [job] = await scene.ended()
        pings.cancel()
        assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


async def test_long_ping_intervals_are_looked_after_too(tmp_path):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, ping_interval=5.0, max_liveness=1)
    async with scene_at(tmp_path, options) as scene:
        await scene.ready_worker()
        await scene.until(lambda: not scene.broker.oversight.workers(), "the end of the silent worker")


async def test_progress_is_passed_on_whoever_it_is_from(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    await scene.worker().say("progress", "elsewhere", "WHATEVER", "a", "b", "c")
    await scene.until(lambda: scene.stray == [("elsewhere", "WHATEVER", "a", "b", "c")], "the progress of a stranger")
    assert await client.eval("j") == ["accept"]
    await worker.job()
    await worker.say("done", "j", "OK", "")
    await worker.say("progress", "j", "FINISHED")
    await scene.until(lambda: scene.stray[1:] == [("j", "FINISHED")], "the late progress")
    assert scene.fed == scene.stray


async def test_a_done_that_is_not_about_the_own_job_changes_nothing(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    await worker.say("done", "nothing", "OK", "")
    assert await client.eval("j") == ["accept"]
    await worker.job()
    await worker.say("done", "another", "OK", "")
    await worker.say("done", "j", "STRANGE", "")
    await worker.say("done", "j")
    await worker.known()
    [job] = await scene.jobs()
    assert job.state is State.LEASED
    assert scene.counters.values["done with another job"] == 2
    await worker.say("done", "j", "OK")
    [job] = await scene.ended()
    assert job.state is State.SUCCEEDED


async def test_the_same_frames_again_are_the_same_job_while_it_lasts(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    await client.say("eval", "j", "", "http://a", "http://r")
    await client.say("eval", "j", "", "http://a", "http://r")
    assert [await client.hear() for _ in range(4)] == [["ack"], ["accept"], ["ack"], ["accept"]]
    assert await client.eval("j", urls=("http://a", "http://r")) == ["accept"]
    assert len(await scene.jobs()) == 1
    assert await client.eval("j", urls=("http://a", "http://other")) == ["accept"]
    assert len(await scene.jobs()) == 2
    for _ in range(2):
        await worker.job()
        await worker.say("done", "j", "OK", "")
    await scene.ended(2)
    assert await client.eval("j", urls=("http://a", "http://other")) == ["accept"]
    assert len(await scene.jobs()) == 3


async def test_jobs_are_done_in_the_order_in_which_they_came(scene: Scene):
    worker, client = await scene.ready_worker("g", "env=c"), scene.client()
    names = [f"job{number}" for number in range(20)]
    for name in names:
        await client.say("eval", name, "env=c" if name < "job15" else "hwgroup=g", "", "http://a", "http://r")
    done = []
    for _ in names:
        done.append((await worker.job())[1])
        await worker.say("done", done[-1], "OK", "")
    assert done == names


async def test_a_worker_over_a_new_connection_keeps_its_job(quick: Scene):
    first, client = await quick.ready_worker("g", "env=c"), quick.client()
    assert await client.eval("j") == ["accept"]
    await first.job()
    second = quick.worker()
    pings = asyncio.create_task(_keep_alive(second))
    await second.say("init", "g", "env=c", "", "description=", "current_job=j")

    async def alone() -> bool:
        return (await client.stats())["worker-count"] == "1"

    await quick.until(alone, "the end of the first connection")
    await asyncio.sleep(1.5)  # the first connection would have been given up by now
    await second.say("done", "j", "OK", "")
    [job] = await quick.ended()
    pings.cancel()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


async def test_a_worker_keeps_its_job_over_a_restart_of_the_broker(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    for name in ("j", "k"):
        assert await client.eval(name) == ["accept"]
    await worker.job()
    await scene.restart()
    await worker.say("ping")
    assert await worker.hear() == ["intro"]
    await worker.init("group1", "", "description=", "current_job=j")
    await worker.say("progress", "j", "ENDED")
    await worker.say("done", "j", "OK", "")
    assert (await worker.job())[1] == "k"
    jobs = await scene.ended()
    assert [(job.state, job.attempt) for job in jobs] == [(State.SUCCEEDED, 1), (State.LEASED, 1)]
    assert scene.stray == []


async def test_a_job_that_ended_while_the_broker_was_away_has_ended(scene: Scene):
    worker, client = await scene.ready_worker(), scene.client()
    assert await client.eval("j") == ["accept"]
    await worker.job()
    await scene.restart()
    await worker.say("done", "j", "OK", "")
    [job] = await scene.ended()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


async def test_a_ghost_that_nobody_knows_occupies_its_worker_until_it_is_done(scene: Scene):
    worker, client = scene.worker(), scene.client()
    await worker.init("group1", "", "current_job=ghost")
    assert await client.eval("j") == ["accept"]
    await worker.known()
    assert await worker.silent()
    await worker.say("done", "ghost", "OK", "")
    assert (await worker.job())[1] == "j"


async def _keep_alive(worker):
    while True:
        await worker.say("ping")
        await asyncio.sleep(0.1)
