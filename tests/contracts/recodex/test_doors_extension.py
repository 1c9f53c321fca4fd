"""The broker's side of our extension over real sockets, question by question."""

import asyncio
import os
from itertools import count

import pytest

from contracts.recodex.doors_scene import ANY_PORT, Scene, Worker, scene_at
from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Outcome, OutcomeKind, Progress
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Submit
from crossdock.protocols.recodex import extension as wire
from crossdock.protocols.recodex.extended import ExtendedWorkers
from crossdock.protocols.recodex.messages import Extended, Init
from crossdock.protocols.recodex.options import RecodexOptions

DONE = Outcome(kind=OutcomeKind.SUCCEEDED, result=b'{"answer":42}')


class Ours:
    """A worker that speaks the extension, question by question."""

    def __init__(self, worker: Worker) -> None:
        self.plain = worker
        self._tickets = count(1)

    async def hello(self, name: str = "ours", **said) -> wire.Answer:
        """Introduce itself; return the answer."""
        hello = wire.Hello(worker=name, **{"kinds": ("echo",), **said})
        await self.plain.say("init", "g", "env=c", "", "description=ours", "crossdock=" + wire.encode_hello(hello))
        ticket, answer = await self.hear()
        assert ticket == 0
        return answer

    async def ask(self, question: wire.Question, ticket: int | None = None) -> int:
        """Ask; return the ticket."""
        ticket = next(self._tickets) if ticket is None else ticket
        await self.plain.say("crossdock", str(ticket), wire.encode_body(question))
        return ticket

    async def hear(self) -> tuple[int, wire.Answer]:
        """Return the next answer and its ticket."""
        word, ticket, body = await self.plain.hear_raw()
        assert word == b"crossdock"
        return int(ticket), wire.decode_answer(body)

    async def answer(self, question: wire.Question) -> wire.Answer:
        """Ask, and return the answer."""
        asked = await self.ask(question)
        ticket, answer = await self.hear()
        assert ticket == asked
        return answer


@pytest.fixture
async def scene(tmp_path):
    async with scene_at(tmp_path) as opened:
        yield opened


async def submit(scene: Scene, payload: bytes = b'{"x":1}'):
    return (await scene.broker.intake.submit(Submit(kind="echo", payload=payload))).job


async def test_a_worker_of_ours_takes_runs_and_ends_jobs(scene: Scene):
    ours = Ours(scene.worker())
    welcome = await ours.hello(slots=3)
    assert isinstance(welcome, wire.Welcome)
    jobs = [await submit(scene) for _ in range(5)]
    grant = await ours.answer(wire.Claim(10, 5.0))
    assert [(lease.job, lease.payload) for lease in grant.leases] == [(job.id, b'{"x":1}') for job in jobs[:3]]
    token = grant.leases[0].token
    await ours.ask(wire.Say(token, Note(progress=Progress(1, 2, "half"))), ticket=0)
    judged = await ours.answer(wire.Report(token, DONE))
    assert (judged.verdict.late, judged.verdict.state) == (False, State.SUCCEEDED)
    ended = await scene.broker.intake.job(jobs[0].id)
    assert (ended.result, ended.progress) == (b'{"answer":42}', Progress(1, 2, "half"))
    late = await ours.answer(wire.Report(token, Outcome(kind=OutcomeKind.FAILED, message="no")))
    assert late.verdict.late


async def test_a_claim_waits_for_work_and_other_questions_do_not_wait_for_it(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    claim = await ours.ask(wire.Claim(1, 20.0))
    assert await ours.answer(wire.Renew((17,))) == wire.Renewed(wire.Renewal((), ()))
    job = await submit(scene)
    ticket, grant = await ours.hear()
    assert ticket == claim
    assert [lease.job for lease in grant.leases] == [job.id]


async def test_a_renewal_tells_what_should_stop(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    job = await submit(scene)
    grant = await ours.answer(wire.Claim(1, 5.0))
    token = grant.leases[0].token
    await scene.broker.intake.cancel(job.id)
    assert await ours.answer(wire.Renew((token,))) == wire.Renewed(wire.Renewal((token,), (token,)))
    await ours.answer(wire.Report(token, Outcome(kind=OutcomeKind.CANCELLED)))
    assert (await scene.broker.intake.job(job.id)).state is State.CANCELLED


async def test_a_renewal_that_crossed_a_grant_takes_nothing_away(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    job = await submit(scene)
    grant = await ours.answer(wire.Claim(1, 5.0))
    await ours.answer(wire.Renew(()))
    await ours.ask(wire.Say(grant.leases[0].token, Note(progress=Progress(1, 2))), ticket=0)
    await ours.answer(wire.Renew(()))
    assert (await scene.broker.intake.job(job.id)).progress == Progress(1, 2)


async def test_it_keeps_its_leases_over_a_new_connection_and_a_restart(scene: Scene):
    first = Ours(scene.worker())
    await first.hello()
    job = await submit(scene)
    grant = await first.answer(wire.Claim(1, 5.0))
    token = grant.leases[0].token
    for restart in (False, True):
        if restart:
            await scene.restart()
        again = Ours(scene.worker())
        welcome = await again.hello(tokens=(token, 99))
        assert welcome == wire.Welcome(wire.Renewal((token,), ()))
    await again.answer(wire.Report(token, DONE))
    ended = await scene.broker.intake.job(job.id)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)


async def test_a_broker_that_does_not_know_it_says_intro(scene: Scene):
    worker = scene.worker()
    await worker.say("crossdock", "1", wire.encode_body(wire.Claim(1)))
    assert await worker.hear() == ["intro"]


async def test_a_worker_that_leaves_hands_back_what_it_holds(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    job = await submit(scene)
    await ours.answer(wire.Claim(1, 5.0))
    assert await ours.answer(wire.Leave()) == wire.Left()
    assert (await scene.broker.intake.job(job.id)).state is State.READY
    await ours.plain.say("ping")
    assert await ours.plain.hear() == ["intro"]


async def test_a_worker_that_falls_silent_loses_its_leases(tmp_path):
    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, ping_interval=0.25)
    async with scene_at(tmp_path, options) as scene:
        ours = Ours(scene.worker())
        await ours.hello(slots=2)
        jobs = [await submit(scene) for _ in range(2)]
        await ours.answer(wire.Claim(2, 5.0))

        async def both_lost() -> bool:
            entries = [await scene.broker.intake.entries(job.id, 0) for job in jobs]
            return all(any(b'"outcome":"lost"' in entry.data for entry in log) for log in entries)

        await scene.until(both_lost, "the loss of both leases")


async def test_artifacts_go_in_parts_both_ways(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    content = os.urandom(3 * wire.PART + 17)
    parts = [content[start : start + wire.PART] for start in range(0, len(content), wire.PART)]
    for number, part in enumerate(parts):
        stored = await ours.answer(wire.Put(1, part, last=number == len(parts) - 1, media_type="application/zip"))
        assert isinstance(stored, wire.Stored)
    ref = stored.ref
    assert isinstance(ref, ArtifactRef)
    assert (ref.size, ref.media_type) == (len(content), "application/zip")
    assert await load(scene.broker.artifacts, ref) == content
    back = b""
    while len(back) < ref.size:
        back += (await ours.answer(wire.Fetch(ref, len(back), ref.size))).data
    assert back == content
    small = await ours.answer(wire.Put(2, b"[1]", last=True))
    assert await load(scene.broker.artifacts, small.ref) == b"[1]"


async def test_what_cannot_be_done_is_refused_with_a_code(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello()
    gone = ArtifactRef("0" * 64, 5)
    for question, code in (
        (wire.Fetch(gone, 0, 5), "not_found"),
        (wire.Say(12345, Note(log="x")), "stale_lease"),
        (wire.Report(12345, Outcome(kind=OutcomeKind.SUCCEEDED, result=b"{not json")), "invalid"),
    ):
        refused = await ours.answer(question)
        assert isinstance(refused, wire.Refused)
        assert refused.code == code
    await ours.plain.say("crossdock", "77", b"\x00garbage")
    ticket, refused = await ours.hear()
    assert (ticket, refused.code) == (77, "invalid")


@pytest.mark.parametrize("said", [{"version": 2}, {"name": ""}, {"name": "local/x"}, {"name": "recodex/x"}])
async def test_an_introduction_that_will_not_do_is_refused(scene: Scene, said):
    refused = await Ours(scene.worker()).hello(**said)
    assert isinstance(refused, wire.Refused)
    assert refused.code == "invalid"
    assert scene.broker.oversight.workers() == []


async def test_it_takes_evaluations_too_with_their_payload_inline(scene: Scene):
    ours = Ours(scene.worker())
    await ours.hello(kinds=("evaluation", "echo"))
    client = scene.client()
    assert await client.eval("j", "env=c") == ["accept"]
    grant = await ours.answer(wire.Claim(1, 5.0))
    [lease] = grant.leases
    assert lease.kind == "evaluation"
    assert b'"submission":"http://a/1.zip"' in lease.payload


async def test_the_broker_stops_while_claims_wait(tmp_path):
    async with scene_at(tmp_path) as scene:
        ours = Ours(scene.worker())
        await ours.hello()
        await ours.ask(wire.Claim(1, 30.0))
        await ours.answer(wire.Renew(()))
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 10


async def test_a_new_connection_begins_its_uploads_anew(scene: Scene):
    for _ in range(2):  # one upload over the limit would be refused if those of the first connection were kept
        ours = Ours(scene.worker())
        await ours.hello()
        for number in range(1, 65):
            assert await ours.answer(wire.Put(number, b"old ", last=False)) == wire.Stored()
    again = Ours(scene.worker())
    await again.hello()
    assert await again.answer(wire.Put(1, b"new ", last=False)) == wire.Stored()
    stored = await again.answer(wire.Put(1, b"too", last=True))
    assert await load(scene.broker.artifacts, stored.ref) == b"new too"


async def test_uploads_that_cannot_be_stored_are_not_kept_open(scene: Scene, monkeypatch):
    ours = Ours(scene.worker())
    await ours.hello()

    async def full(content, media_type=""):
        raise CrossdockError(Code.UNAVAILABLE, "the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(scene.broker.artifacts, "put", full)
        for number in range(65):
            answer: wire.Answer = wire.Stored()
            while answer == wire.Stored():  # the first parts may be taken before the disk is asked
                answer = await ours.answer(wire.Put(number, b"part", last=False))
            assert answer == wire.Refused(Code.UNAVAILABLE, "the disk is full")
    assert await ours.answer(wire.Put(99, b"part", last=False)) == wire.Stored()


class SlowDisk:
    """A broker's dispatch whose reports have been decided, but are not on disk before the test says so."""

    def __init__(self, dispatch) -> None:
        self._dispatch = dispatch
        self.reported = 0
        self.durable = asyncio.Event()

    def __getattr__(self, name: str):
        return getattr(self._dispatch, name)

    async def report(self, token: int, outcome: Outcome):
        verdict = await self._dispatch.report(token, outcome)
        self.reported += 1
        await self.durable.wait()
        return verdict


async def test_a_worker_that_is_back_before_its_loss_is_on_disk_keeps_what_it_holds_now(scene: Scene):
    disk = SlowDisk(scene.broker.dispatch)
    workers = ExtendedWorkers(disk, scene.broker.artifacts, lambda _: None)
    hello = Init("g", (), (("crossdock", wire.encode_hello(wire.Hello(worker="w", kinds=("echo",), slots=2))),))
    await workers.welcome(hello)
    answers: asyncio.Queue[wire.Answer] = asyncio.Queue()

    async def claim(limit: int) -> wire.Grant:
        question = Extended(1, wire.encode_body(wire.Claim(limit, 5.0)))
        workers.ask("w", question, lambda answer, _: answers.put_nowait(wire.decode_answer(answer.body)))
        async with asyncio.timeout(20.0):
            return await answers.get()

    for _ in range(2):
        await submit(scene)
    assert len((await claim(2)).leases) == 2
    losing = asyncio.create_task(workers.lose("w", Outcome(kind=OutcomeKind.LOST, code="lost", retry_after=3600.0)))
    await scene.until(lambda: disk.reported == 2, "the end of both leases")
    await workers.welcome(hello)
    job = await submit(scene)
    [lease] = (await claim(1)).leases
    disk.durable.set()
    await losing
    assert lease.job == job.id
    assert (await scene.broker.dispatch.renew("w", [lease.token])).alive == (lease.token,)
    workers.stop()


async def test_who_changes_its_name_leaves_nothing_behind(scene: Scene):
    ours = Ours(scene.worker())
    for number in range(10):
        await ours.hello(f"name{number}")
    guests = scene.backend._errands._extended._guests
    await scene.until(lambda: list(guests) == ["name9"], "the end of the former names")
    assert isinstance(await ours.answer(wire.Renew(())), wire.Renewed)
