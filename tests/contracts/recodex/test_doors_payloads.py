"""What a job is on this protocol: payloads behind URLs, other kinds, and evaluations that came in elsewhere."""

import asyncio

import msgspec
import pytest

from contracts.recodex.doors_scene import ANY_PORT, Scene, scene_at
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Lease, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides
from crossdock.core.requests import Capabilities, Submit, WorkerInfo
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.messages import Evaluate, Owed
from crossdock.protocols.recodex.options import RecodexOptions

ARTIFACT = b'{"submission":{"digest":"%s","size":3,"media_type":"application/zip"},"result_url":null}' % (b"a" * 64)


class Files:
    """Hooks that note what they are asked."""

    def __init__(self) -> None:
        self.holds: dict[str, bytes] = {}
        self.published: list[int] = []
        self.stuck = asyncio.Event()
        self.stuck.set()
        self.urls: tuple[str, str] | None = ("http://files/in", "http://files/out")

    async def fetch(self, url: str) -> bytes:
        await self.stuck.wait()
        if url not in self.holds:
            raise CrossdockError(Code.UNAVAILABLE, f"{url} cannot be fetched")
        return self.holds[url]

    async def publish(self, lease: Lease) -> tuple[str, str] | None:
        self.published.append(lease.job)
        return self.urls

    async def collect(self, lease: Lease) -> bytes:
        return b'{"results":%d}' % lease.job


@pytest.fixture
def files():
    return Files()


@pytest.fixture
async def scene(tmp_path, files):
    hooks = Hooks(fetch=files.fetch, publish=files.publish, collect=files.collect)
    async with scene_at(tmp_path, hooks=hooks) as opened:
        yield opened


async def attach_echo(scene: Scene) -> None:
    await scene.broker.dispatch.attach(WorkerInfo(id="echo", capabilities=Capabilities(values={"kind": ("echo",)})))


async def test_an_evaluation_is_stored_with_its_urls_and_metadata(scene: Scene):
    await scene.ready_worker()
    assert await scene.client().eval("j", "meta.exercise=42", "hwgroup=group1") == ["accept"]
    [job] = await scene.jobs()
    assert msgspec.json.decode(job.payload) == {
        "submission": "http://a/1.zip",
        "result_url": "http://r/1",
        "job_id": "j",
        "meta": {"exercise": "42"},
    }
    assert job.requirements == (("hwgroup", "group1"),)
    assert [subscriber.channel for subscriber in job.notify] == ["recodex"]
    assert Owed.read(job.notify[0].address) == Owed("j")


async def test_a_job_of_another_kind_has_its_payload_behind_the_archive_url(scene: Scene, files: Files):
    await attach_echo(scene)
    files.holds["http://a/1.zip"] = b'{"x": 1}'
    assert await scene.client().eval("j", "meta.kind=echo") == ["accept"]
    [job] = await scene.jobs()
    assert (job.kind, job.payload) == ("echo", b'{"x": 1}')
    assert Owed.read(job.notify[0].address) == Owed("j", "http://r/1", "echo")


async def test_where_nobody_is_told_of_ends_only_results_of_other_kinds_are_owed(tmp_path, files: Files):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, told=False)
    files.holds["http://a/1.zip"] = b"1"
    async with scene_at(tmp_path, options, hooks=Hooks(fetch=files.fetch)) as scene:
        await attach_echo(scene)
        await scene.ready_worker()
        for headers in (["meta.kind=echo"], []):
            assert await scene.client().eval("j", *headers) == ["accept"]
        owed = {job.kind: [Owed.read(subscriber.address) for subscriber in job.notify] for job in await scene.jobs()}
    assert owed == {"echo": [Owed("j", "http://r/1", "echo")], "evaluation": []}


async def test_how_often_another_kind_is_tried_is_its_own_to_say(tmp_path, files: Files):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, max_request_failures=2)
    files.holds["http://a/1.zip"] = b"1"
    async with scene_at(tmp_path, options, hooks=Hooks(fetch=files.fetch)) as scene:
        await attach_echo(scene)
        await scene.ready_worker()
        for headers in (["meta.kind=echo"], []):
            assert await scene.client().eval("j", *headers) == ["accept"]
        overrides = {job.kind: job.overrides for job in await scene.jobs()}
    assert overrides == {"echo": None, "evaluation": Overrides(attempts=2)}


@pytest.mark.parametrize(
    ("holds", "text"), [(None, "http://a/1.zip cannot be fetched"), (b"{no", "not JSON"), (b"[" * 100_000, "not JSON")]
)
async def test_a_payload_that_cannot_be_had_is_a_rejection(scene: Scene, files: Files, holds, text):
    await attach_echo(scene)
    if holds is not None:
        files.holds["http://a/1.zip"] = holds
    verdict, reason = await scene.client().eval("j", "meta.kind=echo")
    assert verdict == "reject"
    assert text in reason
    assert await scene.jobs() == []


async def test_slow_servers_of_one_client_do_not_shut_the_door_for_others(scene: Scene, files: Files):
    await attach_echo(scene)
    files.stuck = asyncio.Event()
    slow, other = scene.client(), scene.client()
    for number in range(300):
        await slow.say("eval", f"slow{number}", "meta.kind=echo", "", "http://slow", "r")
    assert await slow.hear() == ["ack"]
    await scene.ready_worker()
    assert await other.eval("j") == ["accept"]
    files.holds["http://slow"] = b"1"
    files.stuck.set()
    verdicts = [await slow.hear() for _ in range(599)]
    assert verdicts.count(["accept"]) == 256
    assert verdicts.count(["reject", "Too many payloads are being fetched; try again later."]) == 44


async def test_an_evaluation_from_elsewhere_is_published_for_a_plain_worker(scene: Scene, files: Files):
    worker = await scene.ready_worker()
    job = (await scene.broker.intake.submit(Submit(kind="evaluation", payload=ARTIFACT))).job
    name = encode_id(job.id)
    assert await worker.job() == ["eval", name, "http://files/in", "http://files/out"]
    assert files.published == [job.id]
    await worker.say("done", name, "OK", "")
    [ended] = await scene.ended()
    assert ended.result == b'{"results":%d}' % job.id


async def test_a_worker_keeps_an_evaluation_from_elsewhere_over_a_restart(scene: Scene):
    worker = await scene.ready_worker()
    job = (await scene.broker.intake.submit(Submit(kind="evaluation", payload=ARTIFACT))).job
    await worker.job()
    await scene.restart()
    await worker.init("group1", "", f"current_job={encode_id(job.id)}")
    await worker.say("done", encode_id(job.id), "OK", "")
    [ended] = await scene.ended()
    assert (ended.state, ended.attempt, ended.result) == (State.SUCCEEDED, 1, b'{"results":%d}' % job.id)


async def test_an_evaluation_that_cannot_be_published_says_why_and_the_worker_goes_on(scene: Scene, files: Files):
    worker = await scene.ready_worker()
    files.urls = None
    job = (await scene.broker.intake.submit(Submit(kind="evaluation", payload=ARTIFACT))).job

    async def refused() -> bool:
        return any(b"no URL" in entry.data for entry in await scene.broker.intake.entries(job.id, 0))

    await scene.until(refused, "the refusal")
    await scene.broker.intake.cancel(job.id)
    assert await scene.client().eval("j") == ["accept"]
    assert (await worker.job())[1] == "j"


async def test_a_payload_that_is_no_evaluation_has_failed(scene: Scene):
    worker = await scene.ready_worker()
    await scene.broker.intake.submit(Submit(kind="evaluation", payload=b"[1]"))
    [job] = await scene.ended()
    assert (job.state, job.outcome) == (State.FAILED, OutcomeKind.FAILED)
    assert "submission" in job.message
    await worker.known()


async def test_a_worker_cannot_name_a_job_that_runs_elsewhere(scene: Scene):
    """A job's id of ours is no secret; naming it must not take it from the worker that has it."""
    await attach_echo(scene)
    job = (await scene.broker.intake.submit(Submit(kind="echo"))).job
    [lease] = await scene.broker.dispatch.claim("echo", 1, 5.0)
    thief = scene.worker()
    await thief.init("g", "", f"current_job={encode_id(job.id)}")
    await thief.say("done", encode_id(job.id), "FAILED", "ha")
    await thief.known()
    assert (await scene.broker.intake.job(job.id)).state is State.LEASED
    assert (await scene.broker.dispatch.renew("echo", [lease.token])).alive == (lease.token,)


@pytest.mark.parametrize("given", [True, False])
async def test_what_was_published_for_a_worker_that_has_gone_is_forgotten(scene: Scene, files: Files, given):
    """It has gone before its job was sent, or before the job was its."""
    worker = await scene.ready_worker()
    session, published = scene.backend._session, scene.backend._errands._claiming.published
    [peer] = session.roster
    if given:
        await scene.broker.intake.submit(Submit(kind="evaluation", payload=ARTIFACT))
        evaluate = await worker.job()
        assert len(published) == 1
        sent = Evaluate(evaluate[1], evaluate[2], evaluate[3])
        scene.backend._carry_out(session.undelivered(peer.id, sent))
    else:
        session.left(peer.worker)
        await scene.broker.intake.submit(Submit(kind="evaluation", payload=ARTIFACT))
    await scene.until(lambda: files.published, "the publication")
    await scene.until(lambda: not published, "the end of the publication")
    [job] = await scene.jobs()
    assert job.state is State.READY
