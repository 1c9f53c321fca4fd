"""The worker link: ``Dispatch`` and ``Artifacts`` over HTTP behave as the broker's own."""

import asyncio

import msgspec
import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import decode_id
from crossdock.core.jobs import ArtifactRef, MemberOutcome, Outcome, OutcomeKind, Progress
from crossdock.core.lifecycle import State
from crossdock.core.requests import Capabilities, Note, WorkerInfo
from crossdock.protocols.ogc.worker import HttpArtifacts, HttpDispatch, Link

GOOD = OutcomeKind.SUCCEEDED


@pytest.fixture
async def link(server):
    async with Link(server.url) as link:
        yield link


@pytest.fixture
async def dispatch(link):
    dispatch = HttpDispatch(link)
    info = WorkerInfo(id="far", slots=3, capabilities=Capabilities(values={"kind": ("add", "echo")}))
    renewal = await dispatch.attach(info)
    assert (renewal.alive, renewal.cancelled) == ((), ())
    return dispatch


@pytest.fixture
def artifacts(link):
    return HttpArtifacts(link)


def good(value):
    return Outcome(kind=GOOD, result=msgspec.json.encode(value))


async def test_a_job_from_claim_to_report(broker, dispatch, http, submit):
    job = await submit(inputs={"a": 5})
    [lease] = await dispatch.claim("far", 3, 5)
    assert (lease.job, lease.kind, lease.payload, lease.attempt) == (decode_id(job), "add", b'{"a":5}', 1)
    await dispatch.note(lease.token, Note(progress=Progress(1, 2, "half")))
    await dispatch.note(lease.token, Note(log="a line"))
    assert (await http.get(f"/jobs/{job}")).json()["progress"] == 50
    assert (await dispatch.renew("far", [lease.token, 7])).alive == (lease.token,)
    verdict = await dispatch.report(lease.token, good({"x": [1]}))
    assert (verdict.late, verdict.state) == (False, State.SUCCEEDED)
    assert (await dispatch.report(lease.token, good({"x": [1]}))).late is False, "repeating a report is harmless"
    assert (await dispatch.report(lease.token, good("other"))).late is True
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": {"x": [1]}}
    assert [view.info.id for view in broker.oversight.workers()] == ["far"]


async def test_claims_wait_for_work(dispatch, submit):
    assert await dispatch.claim("far", 1, 0) == []
    waiting = asyncio.create_task(dispatch.claim("far", 1, 20))
    await submit()
    [lease] = await asyncio.wait_for(waiting, 5)
    assert lease.kind == "add"


async def test_a_claim_that_is_longer_than_the_link_allows_is_shortened(dispatch):
    claim = asyncio.create_task(dispatch.claim("far", 5000, 3600))
    done, _ = await asyncio.wait((claim,), timeout=0.1)
    assert not done
    claim.cancel()


async def test_failures_and_cancelling(dispatch, http, submit):
    job = await submit()
    [lease] = await dispatch.claim("far", 1, 5)
    await http.delete(f"/jobs/{job}")
    renewal = await dispatch.renew("far", [lease.token])
    assert renewal.cancelled == (lease.token,)
    assert (await dispatch.report(lease.token, Outcome(kind=OutcomeKind.CANCELLED))).state is State.CANCELLED
    other = await submit()
    [lease] = await dispatch.claim("far", 1, 5)
    outcome = Outcome(kind=OutcomeKind.FAILED, code="boom", message="it broke")
    assert (await dispatch.report(lease.token, outcome)).state is State.FAILED
    assert (await http.get(f"/jobs/{other}")).json()["message"] == "it broke"


async def test_attaching_again_keeps_leases(dispatch, submit):
    await submit()
    [lease] = await dispatch.claim("far", 1, 5)
    info = WorkerInfo(id="far", slots=3, capabilities=Capabilities(values={"kind": ("add",)}))
    assert (await dispatch.attach(info, [lease.token, 99])).alive == (lease.token,)


async def test_detaching_hands_leases_back(dispatch, http, submit):
    job = await submit()
    await dispatch.claim("far", 1, 5)
    await dispatch.detach("far")
    assert (await http.get(f"/jobs/{job}")).json()["status"] == "accepted"
    with pytest.raises(CrossdockError) as caught:
        await dispatch.claim("far", 1)
    assert caught.value.code is Code.NOT_FOUND


async def test_members_of_an_array(dispatch, http, submit):
    job = await submit(crossdock={"array": {"stop": 4}})
    while leases := await dispatch.claim("far", 3):
        for lease in leases:
            pairs = zip(lease.members.indexes, lease.members.parameters, strict=True)
            told = [MemberOutcome(index=index, outcome=good(parameters["index"] * 10)) for index, parameters in pairs]
            assert (await dispatch.report_members(lease.token, told)).late is False
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": [0, 10, 20, 30]}


async def test_large_payloads_and_results_by_reference(dispatch, artifacts, http, submit):
    job = await submit("echo", {"payload": "x" * 90_000})
    [lease] = await dispatch.claim("far", 1, 5)
    assert isinstance(lease.payload, ArtifactRef)
    payload = b"".join([chunk async for chunk in artifacts.read(lease.payload)])
    assert msgspec.json.decode(payload) == "x" * 90_000
    ref = await artifacts.put(payload)
    assert ref == lease.payload
    await dispatch.report(lease.token, Outcome(kind=GOOD, result=ref))
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": "x" * 90_000}


async def test_results_of_other_jobs_are_inputs(dispatch, submit):
    first = await submit()
    await submit(crossdock={"after": [first]})
    [lease] = await dispatch.claim("far", 3, 5)
    await dispatch.report(lease.token, good([1]))
    [lease] = await dispatch.claim("far", 3, 5)
    assert lease.inputs == (b"[1]",)


async def test_artifacts_streamed_and_in_parts(artifacts):
    content = bytes(range(256)) * 3000

    async def chunks():
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    ref = await artifacts.put(chunks(), "application/octet-stream")
    assert ref == await artifacts.put(content, "application/octet-stream")
    assert ref.size == len(content)
    assert ref.media_type == "application/octet-stream"

    async def read(*bounds):
        return b"".join([chunk async for chunk in artifacts.read(ref, *bounds)])

    assert await read() == content
    assert await read(5) == content[5:]
    assert await read(5, 10) == content[5:10]
    assert await read(0, 10**9) == content
    assert await read(10, 10) == b""


async def test_an_empty_artifact(artifacts):
    ref = await artifacts.put(b"")
    assert [chunk async for chunk in artifacts.read(ref) if chunk] == []


async def test_artifacts_that_are_not_there_or_too_large(artifacts):
    with pytest.raises(CrossdockError) as caught:
        _ = [chunk async for chunk in artifacts.read(ArtifactRef("0" * 64, 5))]
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(CrossdockError) as caught:
        await artifacts.put(b"x" * 1_000_001)
    assert caught.value.code is Code.TOO_LARGE


async def test_artifacts_are_swept_by_the_server_only(artifacts):
    with pytest.raises(CrossdockError, match="server itself"):
        await artifacts.delete([])


async def test_a_server_that_goes_away_is_unavailable_on_every_verb(server, dispatch, artifacts):
    await server.stop()
    verbs = [
        dispatch.attach(WorkerInfo(id="far")),
        dispatch.detach("far"),
        dispatch.claim("far", 1),
        dispatch.renew("far", []),
        dispatch.note(1, Note(log="x")),
        dispatch.report(1, good(1)),
        dispatch.report_members(1, []),
        artifacts.put(b"x"),
        anext(artifacts.read(ArtifactRef("0" * 64, 5))),
    ]
    for verb in verbs:
        with pytest.raises(CrossdockError) as caught:
            await verb
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_stopping_server_lets_waiting_claims_go(server, dispatch):
    claim = asyncio.create_task(dispatch.claim("far", 1, 20))
    async with asyncio.timeout(10):
        await asyncio.sleep(0.1)
        await server.stop()
        assert await claim == []


async def test_workers_need_a_key_where_there_are_keys(serve, keys):
    server = await serve(keys=keys)
    async with Link(server.url, "secret-worker") as link:
        assert (await HttpDispatch(link).attach(WorkerInfo(id="far"))).alive == ()
    async with Link(server.url, "secret-ann") as link:
        with pytest.raises(CrossdockError) as caught:
            await HttpDispatch(link).attach(WorkerInfo(id="far"))
    assert caught.value.code is Code.UNAUTHORIZED
