"""Asking other nodes: the requests, the answers, and what is left of both by crashes."""

import asyncio
import json
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from brokers import turns
from crossdock.core.documents import load
from crossdock.core.errors import Code
from crossdock.core.jobs import ArtifactRef, OutcomeKind
from crossdock.core.requests import Record
from crossdock.http.egress import Egress
from crossdock.protocols.jsonbus import hops
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.kinds import node_kind
from crossdock.protocols.jsonbus.messages import Request
from crossdock.protocols.jsonbus.node_runner import SPACE, NodeRunner, request_id
from crossdock.protocols.jsonbus.options import AskOptions
from crossdock.protocols.jsonbus.pushing import Patience
from unit.jsonbus.runner_scene import Scene, again, chunk, lease

ANSWERS = "svc.me.answers"
BRIEF = Patience(first=0.001, longest=0.001, nobody=0.01)


def runner_of(scene, *, egress=None, patience=BRIEF, **options):
    options = AskOptions(node="me", **options)
    egress = egress or Egress(private=True)
    return NodeRunner(options, scene.bus, scene.drawers, scene.artifacts, scene.clock, egress, patience=patience)


@pytest.fixture
async def scene():
    scene = Scene()
    scene.bus.declare("loader_request")
    await scene.begin(runner_of(scene))
    yield scene
    await scene.runner.stop()


def ask(scene, payload=b'{"url": "x"}', **options):
    return scene.run(lease(payload, kind="loader", timeout=100.0, **options))


async def asked(scene, queue="loader_request"):
    """Take the next request out of a node's queue, once it was confirmed."""
    request = decode((await scene.bus.get(queue)).body)
    await turns(5)
    assert isinstance(request, Request)
    return request


def answer(scene, request, status="success", message="done", data=None):
    body = {"type": "notification", "requestId": request.id, "status": status, "message": message}
    assert scene.bus.send(json.dumps(body if data is None else {**body, "data": data}).encode(), "me_notify")


async def idle(scene):
    await turns()
    await scene.runner._waiting.keep_strays()


# There and back


async def test_a_node_is_asked_and_answers(scene):
    run = ask(scene)
    letter = await scene.bus.get("loader_request")
    request = decode(letter.body)
    assert (request.id, request.client_id, request.subject, request.params) == (
        request_id(run.name),
        "me",
        "loader",
        b'{"url": "x"}',
    )
    assert (letter.headers["x-hops"], letter.correlation) == (1, request.id)
    answer(scene, request, data={"n": 1})
    outcome = await run.outcome()
    assert (outcome.kind, outcome.result) == (OutcomeKind.SUCCEEDED, b'{"n": 1}')
    assert scene.settled(ANSWERS) == []
    run.report()
    assert (scene.settled(ANSWERS), scene.drawers.records) == (["accepted"], {})


async def test_keys_subjects_and_lists_can_be_set():
    scene = Scene()
    scene.bus.declare("requests")
    options = {"keys": {"loader": "requests"}, "subjects": {"loader": "load"}, "lists": frozenset({"loader"})}
    await scene.begin(runner_of(scene, **options))
    run = ask(scene)
    request = await asked(scene, "requests")
    assert request.subject == "load"
    answer(scene, request, data={"0": "a"})
    assert json.loads((await run.ended()).result) == ["a"]
    await scene.runner.stop()


async def test_an_answer_without_data_is_null(scene):
    run = ask(scene)
    answer(scene, await asked(scene))
    assert (await run.ended()).result == b"null"


async def test_data_are_sent_as_data_too(scene):
    ask(scene, b'{"a": 1, "data": [2]}')
    request = await asked(scene)
    assert (request.params, request.data) == (b'{"a": 1, "data": [2]}', b"[2]")


@pytest.mark.parametrize(
    ("data", "code"), [(None, "node_failed"), ({"code": "gone"}, "gone"), ({"code": 5}, "node_failed"), ([1], "node_failed")]
)
async def test_a_node_that_fails_fails_the_job_for_good(scene, data, code):
    run = ask(scene)
    answer(scene, await asked(scene), "fail", "no such picture", data)
    outcome = await run.ended()
    assert (outcome.kind, outcome.code, outcome.message) == (OutcomeKind.FAILED, code, "no such picture")


async def test_members_of_an_array_are_requests_of_their_own(scene):
    leased = chunk(2)
    run = scene.run(type(leased)(**{name: getattr(leased, name) for name in leased.__struct_fields__} | {"kind": "loader"}))
    for index in range(2):
        request = await asked(scene)
        assert json.loads(request.params) == {"p": 1, "index": index}
        answer(scene, request, data=index)
    await run.ended()
    assert [member.outcome.result for member in run.attempt.members] == [b"0", b"1"]


async def test_thousands_wait_at_once_and_need_no_task_each(scene):
    runs = [ask(scene) for _ in range(2000)]
    requests = [await asked(scene) for _ in runs]
    assert len(asyncio.all_tasks()) < len(runs) + 10
    for request in reversed(requests):
        answer(scene, request, data=request.id)
    for run in reversed(runs):
        assert (await run.outcome()).result == b'"%s"' % request_id(run.name).encode()
        run.report()
    assert scene.drawers.records == {}


# Hops


async def test_hops_grow_with_every_node(scene):
    leased = lease(kind="loader")
    scene.drawers.remember(Record(hops.SPACE, str(leased.job), b"3"))
    scene.run(leased)
    assert (await scene.bus.get("loader_request")).headers["x-hops"] == 4


async def test_what_went_round_in_a_circle_fails(scene):
    leased = lease(kind="loader")
    scene.drawers.remember(Record(hops.SPACE, str(leased.job), b"%d" % hops.LIMIT))
    outcome = await scene.run(leased).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "circle")
    assert scene.bus.size("loader_request") == 0


# Nodes that are not there, or say nothing


async def test_a_node_that_is_not_there_is_named_with_its_key(scene):
    scene.bus.vanish("loader_request")
    outcome = await ask(scene).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "unroutable")
    assert outcome.message == "the node 'loader' is not there: no queue is bound under 'loader_request'"


async def test_a_node_that_comes_back_soon_is_waited_for(scene):
    await scene.kill()
    await scene.begin(runner_of(scene, patience=Patience(first=0.001, longest=0.001, nobody=60.0)))
    scene.bus.vanish("loader_request")
    run = ask(scene)
    await run.attempt.until(lambda: run.attempt.logs)
    scene.bus.declare("loader_request")
    answer(scene, await asked(scene), data=1)
    assert (await run.ended()).result == b"1"


async def test_a_node_that_does_not_answer_is_asked_once_more_the_same(scene):
    run = ask(scene)
    first = await asked(scene)
    scene.clock.advance(100)
    outcome = await run.ended()
    assert (outcome.kind, outcome.message) == (OutcomeKind.TIMED_OUT, "the node 'loader' did not answer within 100 s")
    run = scene.run(again(run, attempt=2))
    second = await asked(scene)
    assert first == second
    answer(scene, first, data=1)
    assert (await run.ended()).result == b"1"


async def test_an_answer_that_comes_between_two_attempts_spares_the_second(scene):
    run = ask(scene)
    request = await asked(scene)
    scene.clock.advance(100)
    await run.ended()
    answer(scene, request, "fail", "too late")
    await idle(scene)
    run = scene.run(again(run, attempt=2))
    outcome = await run.ended()
    assert (outcome.kind, outcome.message) == (OutcomeKind.FAILED, "too late")
    assert scene.bus.size("loader_request") == 0


async def test_a_request_that_is_cancelled_is_forgotten(scene):
    run = ask(scene)
    request = await asked(scene)
    run.attempt.cancel()
    assert (await run.ended()).kind is OutcomeKind.CANCELLED
    answer(scene, request)
    await idle(scene)
    assert (scene.settled(ANSWERS), scene.drawers.records) == (["accepted"], {})


async def test_answers_that_come_twice_count_once(scene):
    run = ask(scene)
    request = await asked(scene)
    answer(scene, request, data=1)
    answer(scene, request, data=2)
    assert (await run.ended()).result == b"1"
    await idle(scene)
    assert scene.settled(ANSWERS) == ["accepted", "accepted"]


@pytest.mark.parametrize("body", [b"", b"\xff", b'{"type":"job"}', b'{"type":"notification","requestId":1}'])
async def test_what_is_no_answer_is_a_dead_letter(scene, body):
    assert scene.bus.send(body, "me_notify")
    await turns()
    letter = await scene.bus.get(f"{ANSWERS}.dead")
    assert (letter.body, letter.headers["x-original-key"]) == (body, "me_notify")
    assert letter.headers["x-reason"]
    assert scene.settled(ANSWERS) == ["accepted"]
    assert scene.counted == {"an answer that cannot be used": 1, "dead letters": 1}


# Restarts


async def test_a_restart_asks_nobody_twice(scene):
    run = ask(scene)
    request = await asked(scene)
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    await turns()
    answer(scene, request, data=1)
    assert (await run.ended()).result == b"1"
    assert scene.bus.size("loader_request") == 0


async def test_an_answer_that_comes_before_anybody_waits_again_is_kept(scene):
    run = ask(scene)
    request = await asked(scene)
    await scene.kill(run)
    answer(scene, request, data=1)
    await scene.begin(runner_of(scene))
    await idle(scene)
    assert scene.settled(ANSWERS) == ["accepted"]
    assert (SPACE, request.id) in scene.drawers.records
    run = scene.run(again(run))
    assert (await run.ended()).result == b"1"
    assert scene.drawers.records == {}


async def test_a_kill_before_the_report_loses_no_answer(scene):
    run = ask(scene)
    answer(scene, await asked(scene), data=1)
    await run.outcome()
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    assert (await scene.run(again(run)).ended()).result == b"1"


async def test_the_time_that_is_left_goes_on_over_a_restart(scene):
    run = ask(scene)
    await asked(scene)
    await scene.kill(run)
    scene.clock.advance(101)
    await scene.begin(runner_of(scene))
    assert (await scene.run(again(run)).ended()).kind is OutcomeKind.TIMED_OUT


# Large data


@asynccontextmanager
async def served(content: bytes, status: int = 200, headers: str = ""):
    """Serve one document over HTTP, whatever the path; give its URL."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        phrase = HTTPStatus(status).phrase
        writer.write(f"HTTP/1.1 {status} {phrase}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/results/1?sig=secret"


def reference(url, size):
    return {"resultRef": url, "size": size}


async def test_data_by_reference_are_fetched_into_the_artifacts(scene):
    content = b'"%s"' % (b"x" * 100_000)
    async with served(content) as url:
        run = ask(scene)
        answer(scene, await asked(scene), data=reference(url, len(content)))
        outcome = await run.ended()
    assert isinstance(outcome.result, ArtifactRef)
    assert await load(scene.artifacts, outcome.result) == content


async def fetch_fails(scene, data):
    run = ask(scene)
    answer(scene, await asked(scene), data=data)
    outcome = await run.ended()
    assert outcome.kind is OutcomeKind.ERRORED
    assert "secret" not in outcome.message
    run = scene.run(again(run, attempt=2))
    answer(scene, await asked(scene), data=1)
    assert (await run.ended()).result == b"1", "the node is asked again, which makes a new URL"
    return outcome


async def test_data_that_are_gone_are_asked_for_again(scene):
    async with served(b"", 410) as url:
        outcome = await fetch_fails(scene, reference(url, 5))
    assert "the result of the node 'loader' cannot be fetched" in outcome.message
    assert "410" in outcome.message


async def test_data_are_as_long_as_the_answer_said(scene):
    async with served(b"[1]") as url:
        assert "3 bytes, and the answer said 5" in (await fetch_fails(scene, reference(url, 5))).message


async def test_data_beyond_the_limit_are_not_fetched(scene):
    await scene.kill()
    await scene.begin(runner_of(scene, largest=1000))
    async with served(b"x" * 2000) as url:
        assert (await fetch_fails(scene, reference(url, 2000))).code is Code.TOO_LARGE
        assert (await fetch_fails(scene, reference(url, 900))).code is Code.TOO_LARGE, "it says less than it has"


async def test_data_are_fetched_only_from_where_we_may_go(scene):
    await scene.kill()
    await scene.begin(runner_of(scene, egress=Egress()))
    async with served(b"[1]") as url:
        outcome = await fetch_fails(scene, reference(url, 3))
    assert outcome.code is Code.INVALID
    assert "allow_urls" in outcome.message


async def test_compressed_data_are_refused(scene):
    async with served(b"x" * 10, headers="Content-Encoding: gzip\r\n") as url:
        assert "compresses" in (await fetch_fails(scene, reference(url, 10))).message


def test_kinds_of_nodes_wait_and_repeat_once():
    kind = node_kind("loader", wait=5.0)
    assert (kind.runner, kind.policy.timeout, kind.policy.attempts, kind.resumes) == ("jsonbus", 5.0, 2, True)
