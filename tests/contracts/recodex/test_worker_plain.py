"""Our worker at the public broker, over real sockets: an ordinary ReCodEx worker that outlives broken connections."""

import asyncio
import random

import pytest

from contracts.recodex.worker_broker import PublicBroker
from contracts.recodex.worker_hands import Crew
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.recodex.worker_session import Standing

LIMIT = 30.0


@pytest.fixture
async def broker():
    broker = PublicBroker()
    await broker.start()
    yield broker
    await broker.close()


@pytest.fixture
async def crews(broker):
    """Return a function that makes workers, which are ended with the test."""
    made: list[Crew] = []

    def make(name="one", **options):
        made.append(Crew(broker.port, name, **options))
        return made[-1]

    yield make
    for crew in made:
        await crew.close()


async def test_a_job_from_eval_to_done(broker, crews):
    crew = crews().start()
    await broker.until(lambda: broker.workers)
    await broker.submit("j1")
    await broker.until(lambda: broker.ended)
    assert broker.ended == [("j1", "OK", "")]
    assert broker.inits[0][:4] == [b"group1", b"env=c", b"", b"description=one"]
    assert broker.progress == [("j1", "DOWNLOADED"), ("j1", "TASK", "compile", "COMPLETED"), ("j1", "FINISHED")]
    assert crew.dispatch.standing is Standing.PLAIN
    assert len(broker.inits) == 1


async def test_work_that_waits_comes_right_after_the_introduction(broker, crews):
    await broker.submit("j1")
    crews().start()
    await broker.until(lambda: broker.ended)


async def test_failures_and_errors(broker, crews):
    crew = crews().start()
    crew.runner.outcome = Outcome(kind=OutcomeKind.FAILED, code="x", message="no such task")
    await broker.submit("j1")
    await broker.until(lambda: broker.ended)
    assert broker.ended == [("j1", "FAILED", "no such task")]
    crew.runner.outcome = Outcome(kind=OutcomeKind.ERRORED, code="x", message="no disk")
    await broker.submit("j2")
    await broker.until(lambda: crew.runner.runs.count("j2") > 1)
    crew.runner.outcome = None
    await broker.until(lambda: len(broker.ended) > 1)
    assert broker.ended[1] == ("j2", "OK", "")


async def test_a_message_that_is_not_text(broker, crews):
    crew = crews().start()
    crew.runner.outcome = Outcome(kind=OutcomeKind.FAILED, code="x", message="\udcff" + "x" * 1_000_000)
    await broker.submit("j1")
    await broker.until(lambda: broker.ended)
    [(job, status, message)] = broker.ended
    assert (job, status, message[:8]) == ("j1", "FAILED", "\\udcffxx")


async def test_one_job_at_a_time_whatever_the_number_of_slots(broker, crews):
    kinds = ("evaluation", "echo")
    all_of_them = [crews(name, slots=4, kinds=kinds).start() for name in ("one", "two", "three")]
    await broker.until(lambda: len(broker.workers) == 3)
    jobs = [f"j{number}" for number in range(20)]
    for job in jobs:
        await broker.submit(job)
    await broker.until(lambda: len(broker.ended) == 20)
    assert sorted(job for job, _, _ in broker.ended) == sorted(jobs)
    assert sorted(job for crew in all_of_them for job in crew.runner.runs) == sorted(jobs)
    assert max(crew.runner.most for crew in all_of_them) == 1
    text = "does not know Crossdock's extension: one evaluation at a time, as an ordinary ReCodEx worker; not for echo"
    assert all_of_them[0].said == [f"crossdock: tcp://127.0.0.1:{broker.port} {text}"]


@pytest.mark.parametrize("seed", range(8))
async def test_the_broker_killed_at_any_moment_of_a_job(broker, crews, seed):
    """The job runs once, and its end is told to the broker that is there then."""
    chance = random.Random(seed)
    crew = crews().start()
    crew.runner.free.clear()
    await broker.until(lambda: broker.workers)
    await broker.submit("j1")
    await asyncio.wait_for(crew.runner.begun.wait(), LIMIT)
    moments = sorted((chance.uniform(0, 0.4), what) for what in ("kill", "free"))
    passed = 0.0
    for moment, what in moments:
        await asyncio.sleep(moment - passed)
        passed = moment
        if what == "free":
            crew.runner.free.set()
            continue
        await broker.kill()
        await asyncio.sleep(chance.choice([0, 0.05, 0.2, 0.7]))
        await broker.start()
    await broker.until(lambda: broker.ended)
    await broker.submit("j2")
    await broker.until(lambda: any(job == "j2" for job, _, _ in broker.ended))
    assert crew.runner.runs == ["j1", "j2"]
    assert {(job, status) for job, status, _ in broker.ended} == {("j1", "OK"), ("j2", "OK")}


async def test_the_end_of_a_job_that_ends_while_the_broker_is_away(broker, crews):
    crew = crews().start()
    crew.runner.free.clear()
    await broker.until(lambda: broker.workers)
    await broker.submit("j1")
    await asyncio.wait_for(crew.runner.begun.wait(), LIMIT)
    await broker.kill()
    crew.runner.free.set()
    await asyncio.sleep(1.0)  # ten pings: the connection was given up long ago
    await broker.start()
    await broker.until(lambda: broker.ended)
    assert broker.ended == [("j1", "OK", "")]
    assert b"current_job=j1" in broker.inits[-1]


async def test_a_job_of_a_killed_worker_goes_to_another_one(broker, crews):
    first = crews("first").start()
    first.runner.free.clear()
    await broker.submit("j1")
    await asyncio.wait_for(first.runner.begun.wait(), LIMIT)
    second = crews("second").start()
    await broker.until(lambda: len(broker.workers) == 2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await first.kill()
    await broker.until(lambda: broker.ended)
    assert second.runner.runs == ["j1"]
    assert loop.time() - began > 2 * broker.interval


async def test_frames_that_belong_to_somebody_else_are_ignored(broker, crews):
    crew = crews().start()
    await broker.until(lambda: broker.workers)
    [peer] = broker.workers
    await broker.say(peer, b"\x00\x00\x00\x00\x07", b"eval", b"j0", b"a", b"r")
    await broker.say(peer, b"teapot")
    await broker.submit("j1")
    await broker.until(lambda: broker.ended)
    assert crew.runner.runs == ["j1"]


async def test_a_worker_without_evaluations_says_that_it_is_of_no_use(broker, crews):
    crew = crews(kinds=("echo",))
    with pytest.raises(CrossdockError) as caught:
        await crew.dispatch.attach(crew.info)
    assert caught.value.code is Code.INVALID
    assert f"127.0.0.1:{broker.port}" in caught.value.message
    assert "evaluations, and this worker runs none" in caught.value.message
    assert [("nothing to do there" in line) for line in crew.said] == [True]
    await crew.dispatch.detach("one")


async def test_a_broker_that_is_not_there_yet(broker, crews):
    await broker.kill()
    crew = crews()
    crew.dispatch._patience = 0.2
    with pytest.raises(CrossdockError) as caught:
        await crew.dispatch.attach(crew.info)
    assert caught.value.code is Code.UNAVAILABLE
    crew.start()
    await broker.start()
    await broker.submit("j1")
    await broker.until(lambda: broker.ended)


async def test_a_worker_that_leaves_has_said_how_its_last_job_ended(broker, crews):
    crew = crews().start()
    crew.runner.free.clear()
    await broker.submit("j1")
    await asyncio.wait_for(crew.runner.begun.wait(), LIMIT)
    crew.worker.drain()
    crew.runner.free.set()
    await asyncio.wait_for(crew._task, LIMIT)
    await broker.until(lambda: broker.ended)
    assert broker.ended == [("j1", "OK", "")]


async def test_artifacts_are_not_for_such_brokers(broker, crews):
    crew = crews()
    await crew.dispatch.attach(crew.info)
    with pytest.raises(CrossdockError) as caught:
        await crew.artifacts.put(b"x")
    assert caught.value.code is Code.INVALID
    await crew.dispatch.detach("one")
