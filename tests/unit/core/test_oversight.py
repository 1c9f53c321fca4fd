"""What operators see, steps in the log, and jobs that nobody could ever run."""

import json

import pytest

from brokers import House
from crossdock.core.jobs import Progress
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Note, Step, WorkerInfo

ANYWHERE = Capabilities(group="g1", values={"kind": ("work",), "env": ("c", "python3")})


@pytest.fixture
async def picky():
    house = House({"work": Kind(name="work", policy=Policy(unroutable_timeout=100.0))})
    await house.open()
    yield house
    await house.crash()


async def test_serves_looks_at_every_worker_free_or_not(picky):
    oversight = picky.broker.oversight
    assert not oversight.serves("work", ())
    await picky.broker.dispatch.attach(WorkerInfo(id="w", capabilities=ANYWHERE))
    assert oversight.serves("work", (("env", "c"), ("hwgroup", "g0|g1")))
    assert not oversight.serves("work", (("env", "java"),))
    assert not oversight.serves("other", ())
    await picky.broker.dispatch.detach("w")
    assert not oversight.serves("work", ())


async def test_a_job_that_no_worker_could_take_fails_after_its_time(picky):
    job = await picky.submit(requirements=(("env", "java"),))
    await picky.broker.dispatch.attach(WorkerInfo(id="w", capabilities=ANYWHERE))
    for _ in range(9):
        await picky.advance(10)
    assert (await picky.job(job)).state is State.READY
    for _ in range(4):
        await picky.advance(10)
    ended = await picky.job(job)
    assert (ended.state, ended.code) == (State.FAILED, "unroutable")
    assert "env=java" in ended.message


async def test_a_worker_that_comes_and_goes_starts_the_time_again(picky):
    job = await picky.submit()
    await picky.advance(90)
    await picky.broker.dispatch.attach(WorkerInfo(id="w", capabilities=ANYWHERE))
    await picky.advance(5)
    await picky.broker.dispatch.detach("w")
    for _ in range(9):
        await picky.advance(10)
    assert (await picky.job(job)).state is State.READY
    for _ in range(3):
        await picky.advance(10)
    assert (await picky.job(job)).code == "unroutable"


async def test_a_job_that_came_late_into_a_stranded_class_has_its_own_time(picky):
    first = await picky.submit()
    await picky.advance(1)
    await picky.advance(60)
    second = await picky.submit()
    await picky.advance(30)
    for _ in range(4):
        await picky.advance(10)
    assert [(await picky.job(job)).state for job in (first, second)] == [State.FAILED, State.READY]
    for _ in range(6):
        await picky.advance(10)
    assert (await picky.job(second)).state is State.FAILED


async def test_jobs_of_other_kinds_wait_for_ever(house):
    await house.broker.dispatch.detach("w")
    job = await house.submit()
    for _ in range(10):
        await house.advance(100_000)
    assert (await house.job(job)).state is State.READY


async def test_steps_stand_in_the_log_in_their_order(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.dispatch.note(lease.token, Note(step=Step("STARTED")))
    await house.broker.dispatch.note(lease.token, Note(progress=Progress(1, 2), step=Step("TASK", "t1", "COMPLETED")))
    await house.calm()
    entries = await house.log(job)
    assert [entry.event for entry in entries] == ["submitted", "leased", "step", "progress", "step"]
    assert [json.loads(entry.data) for entry in entries if entry.event == "step"] == [
        {"phase": "STARTED", "task": "", "state": ""},
        {"phase": "TASK", "task": "t1", "state": "COMPLETED"},
    ]
