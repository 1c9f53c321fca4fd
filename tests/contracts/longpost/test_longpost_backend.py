"""A remote endpoint as a worker: ours and the public one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import ArraySpec, Job, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides, Policy
from crossdock.core.requests import LOCAL, Capabilities, Submit, WorkerInfo
from crossdock.protocols.longpost import Delays, LongpostRunner
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.worker import Worker

FAST = Delays(initial=0.02, step=0.01)
NAMES = ("echo", "slow", "big", "fail", "boom", "nothing", "held")
KINDS = {
    name: Kind(name=name, runner="longpost", raw=True, policy=Policy(attempts=2, backoff=0.01, grace=3)) for name in NAMES
}


class Yard:
    """A broker without hands of its own."""

    def __init__(self, data: Path, clock) -> None:
        self.broker = Broker(
            store=MemoryStore(), artifacts=file_artifacts(data), signals=LocalSignals(), clock=clock, kinds=KINDS
        )
        self.tasks: list[asyncio.Task[None]] = []

    def back(self, kind: str, url: str, slots: int = 2, **options: Any) -> Worker:
        runner = LongpostRunner(url, delays=FAST, **options)
        offers = Capabilities(values={"kind": (kind,)})
        info = WorkerInfo(id=f"{LOCAL}longpost/{kind}", slots=slots, capabilities=offers, local=True)
        worker = Worker(self.broker.dispatch, self.broker.artifacts, {"longpost": runner}, KINDS, info)
        self.tasks.append(asyncio.create_task(worker.run()))
        return worker

    async def submit(self, kind: str, payload: object, **options) -> Job:
        request = Submit(kind=kind, payload=json.dumps(payload).encode(), **options)
        return (await self.broker.intake.submit(request)).job

    async def run(self, kind: str, payload: object) -> Job:
        return await self.broker.intake.wait((await self.submit(kind, payload)).id, 20)

    async def until(self, job: Job, state: State) -> Job:
        seen = job.events
        while job.state is not state:
            job = await self.broker.intake.changed(job.id, seen, 5)
            seen = job.events
        return job


@pytest.fixture
async def yard(tmp_path: Path, clock) -> AsyncIterator[Yard]:
    """A broker for backends."""
    yard = Yard(tmp_path / "yard", clock)
    await yard.broker.open()
    yield yard
    for task in yard.tasks:
        task.cancel()
    await asyncio.gather(*yard.tasks, return_exceptions=True)
    await yard.broker.close()


@pytest.mark.parametrize("payload", [{}, {"a": "ä😀"}, [1, 2], 7])
async def test_jobs_run_there(yard, endpoint, payload):
    yard.back("echo", endpoint.url("echo"))
    job = await yard.run("echo", payload)
    assert (job.state, json.loads(job.result)) == (State.SUCCEEDED, payload)


async def test_slow_jobs_are_polled_for(yard, endpoint):
    yard.back("slow", endpoint.url("slow"))
    assert (await yard.run("slow", 0.4)).result == b"0.4"


async def test_long_results_and_payloads(yard, quick):
    yard.back("big", quick.url("big"))
    job = await yard.run("big", ["é" * 50, 20])
    assert json.loads(job.result) == "é" * 1000
    yard.back("echo", quick.url("echo"))
    assert (await yard.run("echo", "x" * 2000)).state is State.SUCCEEDED


async def test_a_result_that_is_too_large_fails_the_job_at_once(yard, endpoint):
    yard.back("big", endpoint.url("big"), max_result=2000)
    job = await yard.run("big", ["x", 3000])
    assert (job.state, job.code, job.attempt) == (State.FAILED, "too_large", 1)
    assert "max_result" in job.message


async def test_many_jobs_share_the_slots(yard, endpoint):
    yard.back("echo", endpoint.url("echo"), slots=10)
    jobs = await asyncio.gather(*[yard.run("echo", number) for number in range(30)])
    assert [json.loads(job.result) for job in jobs] == list(range(30))
    assert all(job.attempt == 1 for job in jobs)


@pytest.mark.parametrize(
    ("status", "outcome", "attempts"),
    [
        (400, OutcomeKind.FAILED, 1),
        (404, OutcomeKind.FAILED, 1),
        (429, OutcomeKind.ERRORED, 2),
        (500, OutcomeKind.ERRORED, 2),
        (503, OutcomeKind.ERRORED, 2),
    ],
)
async def test_statuses(yard, endpoint, status, outcome, attempts):
    yard.back("fail", endpoint.url("fail"))
    job = await yard.run("fail", [status, "reason"])
    assert (job.state, job.outcome, job.code, job.attempt) == (State.FAILED, outcome, str(status), attempts)
    assert "reason" in job.message


async def test_an_unreachable_endpoint_is_tried_again(yard):
    yard.back("nothing", f"http://127.0.0.1:{free_port()}/nothing")
    job = await yard.run("nothing", {})
    assert (job.state, job.outcome, job.code, job.attempt) == (State.FAILED, OutcomeKind.ERRORED, "unreachable", 2)


async def test_a_task_that_is_gone_is_tried_again(yard, place):
    yard.back("held", place.url("held"))
    job = await yard.submit("held", {"a": 1})
    await place.claimed.wait()
    [remote] = (await place.broker.intake.search(place.running())).jobs
    place.claimed.clear()
    await place.broker.intake.cancel(remote.id, "hard")
    await place.claimed.wait()
    place.release.set()
    job = await yard.broker.intake.wait(job.id, 20)
    assert (job.state, job.attempt, job.result) == (State.SUCCEEDED, 2, b'{"a": 1}')


async def test_cancelling_a_job_stops_the_remote_task(yard, place):
    yard.back("held", place.url("held"))
    job = await yard.submit("held", {})
    await place.claimed.wait()
    await yard.broker.intake.cancel(job.id)
    job = await yard.broker.intake.wait(job.id, 20)
    assert job.state is State.CANCELLED
    assert await place.stopped() == 1


async def test_a_timeout_stops_the_remote_task(yard, place):
    yard.back("held", place.url("held"))
    job = await yard.submit("held", {}, overrides=Overrides(timeout=0.2, attempts=1))
    job = await yard.broker.intake.wait(job.id, 20)
    assert (job.state, job.outcome) == (State.FAILED, OutcomeKind.TIMED_OUT)
    assert await place.stopped() == 1


async def test_ending_the_backend_stops_the_remote_task_and_hands_the_job_back(yard, place):
    yard.back("held", place.url("held"))
    job = await yard.submit("held", {})
    await place.claimed.wait()
    [task] = yard.tasks
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await place.stopped() == 1
    job = await yard.broker.intake.job(job.id)
    assert (job.state, job.attempt) == (State.READY, 0)
    assert yard.broker.oversight.workers() == []


async def test_draining_finishes_what_runs_and_takes_no_more(yard, place):
    backend = yard.back("held", place.url("held"))
    first = await yard.submit("held", 1)
    await place.claimed.wait()
    backend.drain()
    second = await yard.submit("held", 2)
    place.release.set()
    await asyncio.gather(*yard.tasks)
    assert (await yard.broker.intake.job(first.id)).state is State.SUCCEEDED
    assert (await yard.broker.intake.job(second.id)).state is State.READY


async def test_members_of_an_array_run_there(yard, endpoint):
    yard.back("echo", endpoint.url("echo"))
    job = await yard.submit("echo", {"a": 1}, array=ArraySpec(count=3, name="i"))
    job = await yard.broker.intake.wait(job.id, 20)
    assert job.state is State.SUCCEEDED
    results = [json.loads(member.result) async for member in yard.broker.intake.members(job.id)]
    assert results == [{"a": 1, "i": index} for index in range(3)]


async def test_a_forgotten_backend_introduces_itself_again(yard, place):
    yard.back("echo", place.url("echo"))
    assert (await yard.run("echo", 1)).state is State.SUCCEEDED
    await yard.broker.dispatch.detach(f"{LOCAL}longpost/echo")
    assert (await yard.run("echo", 2)).state is State.SUCCEEDED
