"""What a worker behind a jobs queue, and a node that is asked, may expect of us: over RabbitMQ and over memory alike.

The broker of jobs, its store and the worker that runs the runners are real.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.jsonbus.node_scene import PATIENCE, MemoryStation, RabbitStation
from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import ArraySpec, Job
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Policy
from crossdock.core.ports import Runner
from crossdock.core.requests import LOCAL, Capabilities, Submit, WorkerInfo
from crossdock.http.egress import Egress
from crossdock.protocols.jsonbus.backend import JsonbusRunner
from crossdock.protocols.jsonbus.kinds import backend_kind, node_kind
from crossdock.protocols.jsonbus.node_runner import NodeRunner
from crossdock.protocols.jsonbus.options import AskOptions, BackendOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore
from crossdock.worker import Worker

OPTIONS = BackendOptions(name="thumb", jobs_key="thumb_jobs", results_key="thumb_results", lease=2.0, slots=3)
QUICK = Policy(attempts=3, backoff=0.05, backoff_max=0.05)


class MemoryPeers(MemoryStation):
    """Workers and nodes on the bus in memory."""

    async def push(self, key: str, body: dict) -> None:
        assert self.bus.send(json.dumps(body).encode(), key)


class RabbitPeers(RabbitStation):
    """Workers and nodes on RabbitMQ."""

    async def push(self, key: str, body: dict) -> None:
        await self._channel.basic_publish(json.dumps(body).encode(), exchange="jsonbus", routing_key=key)


class Scene:
    """A data directory, the process that is up now, and the peers."""

    def __init__(self, place: Path, peers: MemoryPeers | RabbitPeers) -> None:
        self.place = place
        self.peers = peers
        thumb, loader = backend_kind("thumb"), node_kind("loader", wait=2.0)
        fields = {name: getattr(thumb, name) for name in Kind.__struct_fields__}
        self.kinds = {
            "thumb": Kind(**fields | {"policy": QUICK}),
            "loader": loader,
            "pipe": Kind(**fields | {"name": "pipe", "policy": QUICK, "needs": {"image": "loader"}}),
        }

    async def open(self) -> None:
        self.broker = broker = Broker(
            store=SqliteStore(self.place / "crossdock.db"),
            artifacts=file_artifacts(self.place / "artifacts"),
            signals=LocalSignals(),
            clock=SystemClock(),
            kinds=self.kinds,
        )
        await broker.open()
        parts = (self.peers.bus, broker.records, broker.artifacts, broker.clock)
        backend = JsonbusRunner(OPTIONS, *parts)
        asking = NodeRunner(AskOptions(node="me"), *parts, Egress(private=True))
        self.workers = [self._worker(backend, 3, "thumb", "pipe"), self._worker(asking, 100, "loader")]
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]
        await self.peers.connect()

    def _worker(self, runner: Runner, slots: int, *kinds: str) -> Worker:
        info = WorkerInfo(id=LOCAL + kinds[0], slots=slots, capabilities=Capabilities(values={"kind": kinds}), local=True)
        own = {kind: self.kinds[kind] for kind in kinds}
        return Worker(self.broker.dispatch, self.broker.artifacts, {"jsonbus": runner}, own, info)

    async def close(self) -> None:
        for worker in self.workers:
            worker.release()
        await asyncio.gather(*self._tasks)
        await self.peers.hang_up()
        await self.broker.close()

    async def restart(self) -> None:
        """End the process as a kill does: the leases and what was pushed stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peers.hang_up()
        await self.broker.close()
        await self.open()

    async def submit(self, kind: str = "thumb", payload: bytes = b'{"url": "x"}', **options: object) -> int:
        return (await self.broker.intake.submit(Submit(kind=kind, payload=payload, **options))).job.id  # type: ignore[arg-type]

    async def end(self, job: int) -> Job:
        ended = await self.broker.intake.wait(job, PATIENCE)
        assert ended.terminal, ended
        return ended

    async def take(self, queue: str = "thumb_jobs") -> dict:
        """Take the next message out of a queue, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            while (got := await self.peers.take(queue)) is None:  # noqa: ASYNC110 - it polls
                await asyncio.sleep(0.02)
        return got.message

    async def answer(self, job: dict, status: str = "success", data: object = None, **changes: object) -> None:
        """Push the result of a job, as a worker that copies the job."""
        await self.peers.push("thumb_results", {"type": "result", "job": {**job, "status": status, **changes}, "data": data})

    async def notify(self, request: dict, status: str = "success", data: object = None) -> None:
        """Push a node's answer."""
        body = {"type": "notification", "requestId": request["id"], "status": status, "message": "so it is", "data": data}
        await self.peers.push(f"{request['clientId']}_notify", body)


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.acceptance)])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    if request.param == "memory":
        peers = MemoryPeers()
    else:
        peers = RabbitPeers(request.getfixturevalue("vhost").url)
        await peers.open()
    await peers.declare("thumb_jobs")
    await peers.declare("loader_request")
    scene = Scene(tmp_path, peers)
    await scene.open()
    yield scene
    await scene.close()
    await peers.close()


async def test_a_job_comes_back_with_what_the_worker_made(scene: Scene):
    job = await scene.submit()
    await scene.answer(await scene.take(), data=[1, 2])
    ended = await scene.end(job)
    assert (ended.state, ended.result, ended.attempt) == (State.SUCCEEDED, b"[1, 2]", 1)


async def test_a_job_that_failed_is_pushed_again_with_the_same_id(scene: Scene):
    job = await scene.submit()
    seen = []
    for _ in range(3):
        seen.append(await scene.take())
        await scene.answer(seen[-1], "fail", "it broke")
    ended = await scene.end(job)
    assert (ended.state, ended.code, ended.message) == (State.FAILED, "job_failed", "it broke")
    assert [(it["id"], it["attempt"], it["status"]) for it in seen] == [(seen[0]["id"], n, "new") for n in (1, 2, 3)]


async def test_a_job_whose_worker_is_silent_is_pushed_again(scene: Scene):
    job = await scene.submit()
    first, second = await scene.take(), await scene.take()
    assert (first["id"], first["attempt"], second["attempt"]) == (second["id"], 1, 2)
    await scene.answer(first, data="late")
    await scene.answer(second, data="in time")
    assert (await scene.end(job)).result == b'"in time"'


async def test_no_more_is_pushed_than_there_are_slots(scene: Scene):
    jobs = [await scene.submit() for _ in range(7)]
    taken = [await scene.take() for _ in range(3)]
    await asyncio.sleep(0.3)
    assert await scene.peers.take("thumb_jobs") is None
    for _ in jobs:
        await scene.answer(taken.pop() if taken else await scene.take())
    for job in jobs:
        assert (await scene.end(job)).state is State.SUCCEEDED


async def test_members_of_an_array_are_jobs(scene: Scene):
    job = await scene.submit(array=ArraySpec(count=9, name="n"))
    seen = []
    for _ in range(9):
        seen.append(await scene.take())
        await scene.answer(seen[-1], data=seen[-1]["params"]["n"])
    ended = await scene.end(job)
    assert (ended.state, ended.tally.succeeded) == (State.SUCCEEDED, 9)
    views = [view async for view in scene.broker.intake.members(job)]
    assert [view.result for view in views] == [b"%d" % n for n in range(9)]
    assert len({it["taskId"] for it in seen}) == 1
    assert await scene.broker.records.get("jsonbus.pushed", seen[0]["id"]) is None


async def test_what_is_under_way_outlives_a_restart(scene: Scene):
    jobs = [await scene.submit() for _ in range(3)]
    taken = [await scene.take() for _ in jobs]
    await asyncio.sleep(0.2)
    await scene.restart()
    for it in taken:
        await scene.answer(it, data=it["id"])
        await scene.answer(it, data="twice")
    ends = [await scene.end(job) for job in jobs]
    assert {end.result for end in ends} == {b'"%s"' % it["id"].encode() for it in taken}
    assert {end.attempt for end in ends} == {1}
    assert await scene.peers.take("thumb_jobs") is None


async def test_cancelled_jobs_are_abandoned(scene: Scene):
    job = await scene.submit()
    taken = await scene.take()
    await scene.broker.intake.cancel(job)
    assert (await scene.end(job)).state is State.CANCELLED
    await scene.answer(taken)
    other = await scene.submit()
    await scene.answer(await scene.take(), data=1)
    assert (await scene.end(other)).result == b"1"


async def test_data_of_a_node_are_put_into_the_job(scene: Scene):
    job = await scene.submit("pipe")
    request = await scene.take("loader_request")
    assert (request["clientId"], request["subject"], request["params"]) == ("me", "loader", {"url": "x"})
    await scene.notify(request, data={"n": 1})
    pushed = await scene.take()
    assert pushed["params"] == {"url": "x", "image": {"n": 1}}
    await scene.answer(pushed, data="done")
    assert (await scene.end(job)).result == b'"done"'


async def test_a_node_that_fails_fails_the_job(scene: Scene):
    job = await scene.submit("pipe")
    await scene.notify(await scene.take("loader_request"), "fail")
    ended = await scene.end(job)
    assert (ended.code, ended.message.endswith("so it is")) == ("need_failed", True)


async def test_a_silent_node_is_asked_once_more_with_the_same_id(scene: Scene):
    job = await scene.submit("loader")
    first, second = await scene.take("loader_request"), await scene.take("loader_request")
    assert first == second
    assert (await scene.end(job)).code == "timeout"


async def test_what_was_asked_outlives_a_restart(scene: Scene):
    job = await scene.submit("pipe")
    request = await scene.take("loader_request")
    await asyncio.sleep(0.2)
    await scene.restart()
    await scene.notify(request, data=7)
    pushed = await scene.take()
    assert pushed["params"]["image"] == 7
    await scene.answer(pushed)
    assert (await scene.end(job)).state is State.SUCCEEDED
    assert await scene.peers.take("loader_request") is None
