"""Our worker at our broker, over real sockets and the extension: all that the port ``Dispatch`` promises."""

import asyncio
import random
import time

import msgspec
import pytest

from contracts.recodex.doors_scene import ANY_PORT, Scene, scene_at
from contracts.recodex.worker_hands import Crew
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, MemberOutcome, Outcome, OutcomeKind, Progress
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Step, Submit
from crossdock.protocols.recodex.options import RecodexOptions
from crossdock.protocols.recodex.worker_session import Standing

LIMIT = 30.0
GOOD = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")
FAST = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, ping_interval=0.25)


@pytest.fixture
async def scene(tmp_path):
    async with scene_at(tmp_path, FAST) as scene:
        yield scene


@pytest.fixture
async def crews(scene):
    """Return a function that makes workers, which are ended with the test."""
    made: list[Crew] = []

    def make(name="one", **options):
        options = {"kinds": ("evaluation", "echo"), "interval": 0.25, "slots": 4, **options}
        made.append(Crew(scene.backend.port, name, **options))
        return made[-1]

    yield make
    for crew in made:
        await crew.close()


async def submit(scene: Scene, payload: object = None, **options):
    text = msgspec.json.encode({} if payload is None else payload)
    return (await scene.broker.intake.submit(Submit(kind="echo", payload=text, **options))).job.id


async def attached(crews):
    crew = crews()
    renewal = await crew.dispatch.attach(crew.info)
    assert (renewal.alive, renewal.cancelled) == ((), ())
    assert crew.dispatch.standing is Standing.EXTENDED
    return crew.dispatch


async def test_the_broker_learns_what_the_worker_offers(scene, crews):
    crew = crews(description="a box under a desk")
    await crew.dispatch.attach(crew.info)
    [view] = scene.broker.oversight.workers()
    info = view.info
    assert crew.said == [
        f"crossdock: tcp://127.0.0.1:{scene.backend.port} knows Crossdock's extension: all kinds, 4 at once"
    ]
    assert (info.id, info.slots, info.description, info.local) == ("one", 4, "a box under a desk", False)
    assert info.capabilities.group == "group1"
    assert info.capabilities.values == {"env": ("c",), "kind": ("evaluation", "echo")}


async def test_a_job_from_claim_to_report(scene, crews):
    dispatch = await attached(crews)
    job = await submit(scene, {"a": 5})
    [lease] = await dispatch.claim("one", 3, 5)
    assert (lease.job, lease.kind, lease.payload, lease.attempt) == (job, "echo", b'{"a":5}', 1)
    await dispatch.note(lease.token, Note(progress=Progress(1, 2, "half")))
    assert (await dispatch.renew("one", [lease.token, 7])).alive == (lease.token,)
    assert (await scene.broker.intake.job(job)).progress == Progress(1, 2, "half")
    verdict = await dispatch.report(lease.token, GOOD)
    assert (verdict.late, verdict.state) == (False, State.SUCCEEDED)
    assert (await dispatch.report(lease.token, GOOD)).late is False, "repeating a report is harmless"
    assert (await dispatch.report(lease.token, Outcome(kind=OutcomeKind.SUCCEEDED, result=b"2"))).late is True
    assert (await scene.broker.intake.job(job)).result == b"1"


async def test_claims_wait_for_work(scene, crews):
    dispatch = await attached(crews)
    assert await dispatch.claim("one", 1, 0) == []
    waiting = asyncio.create_task(dispatch.claim("one", 1, 20))
    await submit(scene)
    [lease] = await asyncio.wait_for(waiting, LIMIT)
    assert lease.kind == "echo"


async def test_a_claim_that_was_given_up_loses_no_lease(scene, crews):
    dispatch = await attached(crews)
    waiting = asyncio.create_task(dispatch.claim("one", 1, 20))
    await asyncio.sleep(0.1)
    waiting.cancel()
    job = await submit(scene)
    [lease] = await dispatch.claim("one", 1, 20)
    assert lease.job == job


async def test_a_cancelled_job_is_told_by_the_next_renewal(scene, crews):
    dispatch = await attached(crews)
    job = await submit(scene)
    [lease] = await dispatch.claim("one", 1, 5)
    await scene.broker.intake.cancel(job)
    assert (await dispatch.renew("one", [lease.token])).cancelled == (lease.token,)
    assert (await dispatch.report(lease.token, Outcome(kind=OutcomeKind.CANCELLED))).state is State.CANCELLED


async def test_attaching_again_keeps_leases_and_leaving_hands_them_back(scene, crews):
    crew = crews()
    await crew.dispatch.attach(crew.info)
    job = await submit(scene)
    [lease] = await crew.dispatch.claim("one", 1, 5)
    assert (await crew.dispatch.attach(crew.info, [lease.token, 99])).alive == (lease.token,)
    await crew.dispatch.detach("one")
    assert (await scene.broker.intake.job(job)).state is State.READY
    with pytest.raises(CrossdockError) as caught:
        await crew.dispatch.claim("one", 1)
    assert caught.value.code is Code.NOT_FOUND


async def test_artifacts_streamed_and_in_parts(scene, crews):
    crew = crews()
    await crew.dispatch.attach(crew.info)
    content = bytes(range(256)) * 3000

    async def chunks():
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    ref = await crew.artifacts.put(chunks(), "application/octet-stream")
    assert ref == await crew.artifacts.put(content, "application/octet-stream")
    assert (ref.size, ref.media_type) == (len(content), "application/octet-stream")

    async def read(*bounds):
        return b"".join([chunk async for chunk in crew.artifacts.read(ref, *bounds)])

    assert await read() == content
    assert await read(5, 300_000) == content[5:300_000]
    assert await read(700_000, 10**9) == content[700_000:]
    empty = await crew.artifacts.put(b"")
    assert empty.size == 0
    with pytest.raises(CrossdockError) as caught:
        [chunk async for chunk in crew.artifacts.read(msgspec.structs.replace(ref, digest="0" * 64))]
    assert caught.value.code is Code.NOT_FOUND


async def test_texts_that_cannot_be_sent_as_they_are(scene, crews):
    dispatch = await attached(crews)
    job = await submit(scene)
    [lease] = await dispatch.claim("one", 1, 5)
    broken = "\udcff" + "x" * 5_000_000
    await dispatch.note(lease.token, Note(log=broken, progress=Progress(1, 2, broken), step=Step("TASK", broken, broken)))
    await dispatch.report(lease.token, Outcome(kind=OutcomeKind.FAILED, code="boom", message=broken))
    ended = await scene.broker.intake.job(job)
    assert (ended.state, ended.code) == (State.FAILED, "boom")
    assert ended.message.startswith("\\udcffxxx")
    assert ended.progress.done == 1


async def test_five_megabytes_there_and_back(scene, crews):
    crews().start()
    text = "x" * 5_000_000
    job = await scene.broker.intake.wait(await submit(scene, text), LIMIT)
    assert job.state is State.SUCCEEDED
    assert job.result == job.payload
    assert job.result.size == len(text) + 2


async def test_twenty_jobs_through_four_slots(scene, crews):
    crew = crews().start()
    jobs = [await submit(scene, number) for number in range(20)]
    for number, job in enumerate(jobs):
        ended = await scene.broker.intake.wait(job, LIMIT)
        assert (ended.state, ended.result, ended.attempt) == (State.SUCCEEDED, b"%d" % number, 1)
    assert len(crew.runner.runs) == 20
    assert 1 < crew.runner.most <= 4


async def test_cancel_reaches_a_job_that_runs(scene, crews):
    crew = crews().start()
    crew.runner.free.clear()
    job = await submit(scene)
    await asyncio.wait_for(crew.runner.begun.wait(), LIMIT)
    await scene.broker.intake.cancel(job)
    assert (await scene.broker.intake.wait(job, LIMIT)).state is State.CANCELLED
    assert crew.runner.cancelled == [job]


async def test_members_of_an_array_with_results_of_any_size(scene, crews):
    crew = crews().start()
    job = await submit(scene, array=ArraySpec(count=3000))
    ended = await scene.broker.intake.wait(job, LIMIT)
    assert (ended.state, ended.tally.succeeded) == (State.SUCCEEDED, 3000)
    members = [view async for view in scene.broker.intake.members(job)]
    assert [view.result for view in members] == [b"%d" % (index * 10) for index in range(3000)]
    assert len(crew.runner.runs) < 300


async def test_an_evaluation_comes_the_same_way(scene, crews):
    crew = crews().start()
    client = scene.client()
    await scene.until(scene.broker.oversight.workers)
    assert await client.eval("student_1", "hwgroup=group1") == ["accept"]
    [job] = await scene.ended()
    assert (job.state, crew.runner.runs) == (State.SUCCEEDED, ["student_1"])


@pytest.mark.parametrize("seed", range(6))
async def test_the_broker_restarted_at_any_moment_of_a_job(scene, crews, seed):
    """The job runs once, and its result gets to the broker that is there then."""
    chance = random.Random(seed)
    crew = crews().start()
    crew.runner.free.clear()
    jobs = [await submit(scene, number) for number in range(3)]
    await scene.until(lambda: len(crew.runner.runs) == 3)
    passed = 0.0
    for moment, what in sorted((chance.uniform(0, 0.6), what) for what in ("restart", "free")):
        await asyncio.sleep(moment - passed)
        passed = moment
        if what == "free":
            crew.runner.free.set()
        else:
            await scene.restart()
    for number, job in enumerate(jobs):
        ended = await scene.broker.intake.wait(job, LIMIT)
        assert (ended.state, ended.result, ended.attempt) == (State.SUCCEEDED, b"%d" % number, 1)
    assert sorted(crew.runner.runs) == sorted(jobs)


@pytest.mark.parametrize("size", [10, 200_000])
async def test_what_ends_while_the_broker_is_away_is_reported_when_it_is_back(scene, crews, size):
    crew = crews().start()
    crew.runner.free.clear()
    job = await submit(scene, "x" * size)
    await asyncio.wait_for(crew.runner.begun.wait(), LIMIT)
    port = scene.backend.port
    await scene.close()
    crew.runner.free.set()
    await asyncio.sleep(2.0)  # eight pings: the connection was given up, and the next one too
    scene.options = msgspec.structs.replace(FAST, workers=f"tcp://127.0.0.1:{port}")
    await scene.open()
    ended = await scene.broker.intake.wait(job, LIMIT)
    assert (ended.state, ended.attempt, crew.runner.runs) == (State.SUCCEEDED, 1, [job])


async def test_the_job_of_a_killed_worker_goes_to_another_one(scene, crews):
    first = crews("first").start()
    first.runner.free.clear()
    job = await submit(scene)
    await asyncio.wait_for(first.runner.begun.wait(), LIMIT)
    second = crews("second").start()
    await scene.until(lambda: len(scene.broker.oversight.workers()) == 2)
    began = time.monotonic()
    await first.kill()
    ended = await scene.broker.intake.wait(job, LIMIT)
    assert (ended.state, ended.attempt, second.runner.runs) == (State.SUCCEEDED, 2, [job])
    assert time.monotonic() - began > FAST.silence / 2


async def test_a_worker_that_the_broker_refuses_learns_why(scene, crews):
    crew = crews("local/one")
    with pytest.raises(CrossdockError) as caught:
        await crew.dispatch.attach(crew.info)
    assert caught.value.code is Code.INVALID
    assert "local/one" in caught.value.message
    await crew.dispatch.detach("local/one")


async def test_many_results_that_are_large_together(scene, crews):
    dispatch = await attached(crews)
    await submit(scene, array=ArraySpec(count=200))
    result = msgspec.json.encode("y" * 60_000)
    total = 0
    while leases := await dispatch.claim("one", 4, 0.5):
        for lease in leases:
            outcome = Outcome(kind=OutcomeKind.SUCCEEDED, result=result)
            outcomes = [MemberOutcome(index=index, outcome=outcome) for index in lease.members.indexes]
            total += len(outcomes)
            assert (await dispatch.report_members(lease.token, outcomes)).late is False
    assert total == 200
    [job] = await scene.ended()
    assert job.tally.succeeded == 200
