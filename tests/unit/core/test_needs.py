"""Kinds that need data of other kinds: what is admitted, what a worker gets, and what becomes of it when something fails."""

import msgspec
import pytest
from msgspec.structs import replace

from brokers import DONE, STEADY, WRONG, House, Valve
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, ArtifactRef, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.needs import complete, missing_needs, refuse_circles, share
from crossdock.core.policy import Overrides
from crossdock.core.requests import Capabilities, Query, Record, Submit, WorkerInfo
from crossdock.stores.memory import MemoryStore

URL = b'{"url": "x"}'
LOCAL = WorkerInfo(id="local/w", capabilities=Capabilities(values={"kind": ("work",)}), local=True)


def closed(*names):
    """Return the schema of a function with these parameters."""
    return {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}


def kind(name, needs=None, **options):
    return Kind(name=name, policy=STEADY, needs=needs or {}, **options)


def refuse(payload):
    raise CrossdockError(Code.INVALID, "the payload does not fit")


KINDS = {
    "loader": kind("loader"),
    "resizer": kind("resizer"),
    "thumbnail": kind("thumbnail", {"image": "loader"}),
    "pair": kind("pair", {"left": "loader", "right": "resizer"}),
    "twice": kind("twice", {"one": "loader", "other": "loader"}),
    "gallery": kind("gallery", {"thumbnail": "thumbnail", "image": "loader"}),
    "strict": kind("strict", inputs=closed("url")),
    "uses_strict": kind("uses_strict", {"data": "strict"}),
    "never": kind("never", check=refuse),
    "uses_never": kind("uses_never", {"data": "never"}),
}


@pytest.fixture
async def house():
    house = House(KINDS)
    await house.open()
    await house.attach()
    yield house
    await house.crash()


async def all_jobs(house):
    return (await house.broker.intake.search(Query(ascending=True))).jobs


def result(text):
    return Outcome(kind=OutcomeKind.SUCCEEDED, result=text)


async def finish(house, text=b"1", outcome=None):
    """Run the next job to its end; return its lease."""
    lease = await house.lease()
    await house.report(lease, outcome or result(text))
    await house.calm()
    return lease


# Admission


async def test_a_job_is_admitted_with_what_it_needs_and_runs_after_it(house):
    job = await house.submit("thumbnail", payload=URL, tenant="t", priority=3)
    [needed, same] = await all_jobs(house)
    assert same == job
    assert (needed.kind, needed.payload, needed.tenant, needed.priority) == ("loader", URL, "t", 3)
    assert (job.state, job.after, job.needs) == (State.WAITING, (needed.id,), ("image",))
    assert (await finish(house, b'"pixels"')).job == needed.id
    lease = await house.lease()
    assert (lease.job, lease.payload, lease.inputs, lease.needs) == (job.id, URL, (b'"pixels"',), ("image",))


async def test_several_needs_run_at_once(house):
    await house.submit("pair", payload=URL)
    leases = await house.claim(limit=9)
    assert sorted(lease.kind for lease in leases) == ["loader", "resizer"]
    for lease in leases:
        await house.report(lease, result(b'"%s"' % lease.kind.encode()))
        await house.calm()
    lease = await house.lease()
    assert dict(zip(lease.needs, lease.inputs, strict=True)) == {"left": b'"loader"', "right": b'"resizer"'}


async def test_members_that_need_the_same_share_one_job(house):
    await house.submit("twice")
    assert [job.kind for job in await all_jobs(house)] == ["loader", "twice"]
    await finish(house, b"5")
    assert (await house.lease()).inputs == (b"5", b"5")


async def test_what_is_needed_may_need_something_too(house):
    job = await house.submit("gallery", payload=URL)
    assert [job.kind for job in await all_jobs(house)] == ["loader", "thumbnail", "gallery"], "the image is loaded once"
    await finish(house, b'"pixels"')
    assert (await finish(house, b'"small"')).kind == "thumbnail"
    lease = await house.lease()
    assert (lease.job, lease.inputs) == (job.id, (b'"small"', b'"pixels"'))


async def test_jobs_that_it_was_submitted_after_come_before_what_it_needs(house):
    first = await house.submit("loader")
    job = await house.submit("thumbnail", after=(first.id,))
    leases = await house.claim(limit=9)
    assert [lease.kind for lease in leases] == ["loader", "loader"]
    for number, lease in enumerate(leases):
        await house.report(lease, result(b"%d" % number))
        await house.calm()
    lease = await house.lease()
    assert (lease.job, lease.inputs, lease.needs) == (job.id, (b"0", b"1"), ("image",))


async def test_a_needed_function_gets_the_members_that_it_knows(house):
    await house.submit("uses_strict", payload=b'{"url": "x", "width": 1.50}')
    assert (await house.lease()).payload == b'{"url":"x"}'


async def test_what_cannot_be_made_is_refused_at_the_submit(house):
    with pytest.raises(CrossdockError, match="'data' comes of 'never': the payload does not fit") as caught:
        await house.submit("uses_never")
    assert caught.value.code is Code.INVALID
    assert await all_jobs(house) == ()


async def test_a_large_payload_is_kept_once_and_reaches_what_is_needed(house):
    payload = b'{"url": "%s"}' % (b"x" * 100_000)
    job = await house.submit("thumbnail", payload=payload)
    lease = await house.lease()
    assert isinstance(lease.payload, ArtifactRef)
    assert house.artifacts.contents[lease.payload.digest] == payload
    assert isinstance(job.payload, ArtifactRef)


async def test_a_delayed_job_needs_its_data_when_it_is_due(house):
    await house.submit("thumbnail", delay=10)
    assert await house.claim() == []
    await house.advance(10)
    assert (await finish(house)).kind == "loader"
    assert (await house.lease()).kind == "thumbnail"


async def test_a_key_makes_no_second_set(house):
    first = await house.submit("thumbnail", key="k")
    again = await house.broker.intake.submit(Submit(kind="thumbnail", key="k"))
    assert (again.job.id, again.existing) == (first.id, True)
    assert len(await all_jobs(house)) == 2


async def test_a_batch_counts_only_what_was_submitted(house):
    requests = [Submit(kind="thumbnail", payload=URL), Submit(kind="loader"), Submit(kind="pair")]
    batch, answers = await house.broker.intake.submit_batch(requests)
    assert [answer.job.kind for answer in answers] == ["thumbnail", "loader", "pair"]
    assert len(await all_jobs(house)) == 6
    assert (await house.broker.intake.batch(batch)).total == 3
    await house.broker.intake.cancel_batch(batch)
    await house.calm()
    assert {job.state for job in await all_jobs(house)} == {State.CANCELLED}


async def test_all_of_a_family_is_on_disk_or_none(house):
    valve = Valve(MemoryStore())
    other = House(KINDS, reopen=lambda: valve)
    await other.open()
    valve.plan = [StoreFull("no space")]
    with pytest.raises(StoreFull):
        await other.submit("gallery")
    await other.calm()
    assert await all_jobs(other) == ()
    await other.attach()
    assert await other.claim(limit=9) == []
    await other.submit("gallery")
    assert len(await all_jobs(other)) == 3
    await other.crash()


async def test_records_without_a_key_are_kept_for_every_job(house):
    records = (Record("hops", "", b"2"), Record("one", "k", b"{job}"))
    await house.broker.intake.submit(Submit(kind="gallery", records=records))
    jobs = await all_jobs(house)
    for job in jobs:
        assert (await house.broker.records.get("hops", str(job.id))).value == b"2"
    assert (await house.broker.records.get("one", "k")).value == b"%d" % jobs[-1].id


# Ends


async def test_a_need_that_fails_fails_the_job_and_says_why(house):
    job = await house.submit("thumbnail", payload=URL)
    lease = await finish(house, outcome=WRONG)
    job = await house.job(job)
    assert (job.state, job.code, job.attempt) == (State.FAILED, "need_failed", 0)
    assert job.message == f"'image' cannot be had: the job {encode_id(lease.job)} of 'loader' failed: it cannot work"


async def test_a_failure_deep_down_is_told_at_the_top(house):
    job = await house.submit("gallery")
    await finish(house, outcome=WRONG)
    assert (await house.job(job)).message.endswith("it cannot work")


async def test_a_long_reason_is_shortened_in_its_middle(house):
    job = await house.submit("gallery")
    await finish(house, outcome=replace(WRONG, message="x" * 5000 + " and that is why"))
    message = (await house.job(job)).message
    assert message.startswith("'")
    assert message.endswith("x and that is why")
    assert len(message) < 600


async def test_a_need_that_fails_makes_the_others_needless(house):
    job = await house.submit("pair")
    [one, other] = await house.claim(limit=9)
    await house.report(one, WRONG)
    await house.calm()
    assert (await house.job(job)).state is State.FAILED
    assert (await house.broker.dispatch.renew("w", [other.token])).cancelled == (other.token,)


async def test_cancelling_a_job_cancels_what_only_it_needs(house):
    job = await house.submit("gallery")
    await house.broker.intake.cancel(job.id)
    await house.calm()
    assert [job.state for job in await all_jobs(house)] == [State.CANCELLED] * 3
    assert await house.claim() == []


async def test_what_another_job_waits_for_goes_on(house):
    job = await house.submit("thumbnail")
    [needed] = job.after
    friend = await house.submit("resizer", after=(needed,))
    await house.broker.intake.cancel(job.id)
    await house.calm()
    assert (await finish(house)).job == needed
    assert (await house.lease()).job == friend.id


async def test_a_job_whose_time_is_over_needs_nothing_any_more(house):
    job = await house.submit("thumbnail", overrides=Overrides(total_timeout=20))
    await house.advance(21)
    assert [job.state for job in await all_jobs(house)] == [State.CANCELLED, State.FAILED]
    assert (await house.job(job)).code == "total_timeout"


async def test_a_job_that_failed_while_it_ran_leaves_what_it_needed(house):
    await house.submit("thumbnail")
    await finish(house)
    await finish(house, outcome=WRONG)
    assert [job.state for job in await all_jobs(house)] == [State.SUCCEEDED, State.FAILED]


async def test_running_it_again_makes_everything_anew(house):
    first = await house.submit("resizer")
    job = await house.submit("thumbnail", payload=URL, after=(first.id,))
    leases = {lease.kind: lease for lease in await house.claim(limit=9)}
    await house.report(leases["resizer"], result(b'"own"'))
    await house.report(leases["loader"], WRONG)
    await house.calm()
    assert (await house.job(job)).code == "need_failed"
    again = await house.broker.intake.retry(job.id)
    assert (again.retry_of, again.needs, again.after[0]) == (job.id, ("image",), first.id)
    assert again.after[1] not in job.after
    assert (await finish(house, b'"pixels"')).payload == URL
    lease = await house.lease()
    assert (lease.job, lease.inputs) == (again.id, (b'"own"', b'"pixels"'))


async def test_every_attempt_gets_what_it_needs(house):
    await house.submit("thumbnail")
    await finish(house, b'"pixels"')
    for _ in range(2):
        lease = await finish(house, outcome=Outcome(kind=OutcomeKind.ERRORED))
        assert lease.inputs == (b'"pixels"',)
        await house.advance(10)
    assert (await house.lease()).inputs == (b'"pixels"',)


async def test_a_need_without_a_result_is_null(house):
    await house.submit("thumbnail")
    await finish(house, outcome=Outcome(kind=OutcomeKind.SUCCEEDED))
    assert (await house.lease()).inputs == (b"null",)


# Arrays


async def test_an_array_needs_its_data_once(house):
    await house.submit("thumbnail", payload=URL, array=ArraySpec(count=3, name="width"))
    assert (await finish(house, b'"pixels"')).payload == URL
    lease = await house.lease()
    assert (lease.inputs, lease.needs, lease.members.parameters[0]) == ((b'"pixels"',), ("image",), {"width": 0})


async def test_members_that_are_tried_again_are_told_so(house):
    await house.submit("loader", array=ArraySpec(count=2))
    lease = await house.lease()
    assert lease.members.attempts == ()
    failed = [MemberOutcome(index=index, outcome=Outcome(kind=OutcomeKind.ERRORED)) for index in lease.members.indexes]
    await house.broker.dispatch.report_members(lease.token, failed)
    await house.advance(2)
    leases = await house.claim(limit=9)
    again = [lease.members for lease in leases if lease.members.indexes == (0,)]
    assert [members.attempts for members in again] == [(2,)]


# Restarts


@pytest.mark.parametrize("moment", ["before", "between", "after"])
async def test_a_restart_forgets_nothing(house, moment):
    job = await house.submit("pair", payload=URL)
    if moment != "before":
        await finish(house, b'"first"')
    if moment == "after":
        await finish(house, b'"second"')
    await house.restart()
    await house.attach()
    while (lease := await house.lease()).job != job.id:
        await house.report(lease, result(b'"later"'))
        await house.calm()
    assert lease.needs == ("left", "right")
    assert None not in lease.inputs


async def test_a_kind_that_needs_something_else_now_changes_nothing_for_older_jobs(house):
    job = await house.submit("thumbnail", payload=URL)
    house.kinds["thumbnail"] = kind("thumbnail", {"other": "resizer"})
    await house.restart()
    await house.attach()
    assert house.broker.oversight.explain(await house.job(job)).startswith("it waits for 'image' (job ")
    await finish(house, b'"pixels"')
    assert (await house.lease()).needs == ("image",)


async def test_an_attempt_that_its_runner_finds_again_goes_on_after_a_restart():
    for resumes, attempt in ((True, 1), (False, 2)):
        house = House({"work": kind("work", resumes=resumes)})
        await house.open()
        job = await house.submit()
        await house.broker.dispatch.attach(LOCAL)
        [lease] = await house.broker.dispatch.claim("local/w", 1)
        await house.calm()
        await house.restart()
        await house.advance(5)
        await house.broker.dispatch.attach(LOCAL)
        [again] = await house.broker.dispatch.claim("local/w", 1)
        assert (again.job, again.attempt) == (job.id, attempt)
        assert again.token > lease.token
        await house.crash()


# Words


async def test_a_job_says_what_it_waits_for(house):
    explain = house.broker.oversight.explain
    job = await house.submit("pair")
    left, right = map(encode_id, job.after)
    assert explain(job) == f"it waits for 'left' of 'loader' (job {left}) and for 'right' of 'resizer' (job {right})"
    await house.report(await house.lease(), DONE)
    await house.calm()
    assert explain(job) == f"it waits for 'right' of 'resizer' (job {right})"


async def test_a_job_that_waits_for_many_says_how_many(house):
    parents = tuple([(await house.submit("loader")).id for _ in range(7)])
    assert house.broker.oversight.explain(await house.submit("loader", after=parents)) == (
        "it waits for 7 other jobs to succeed"
    )


# Kinds


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": {"x": "a"}}, "'a' needs 'a'"),
        ({"a": {"x": "b"}, "b": {"x": "a"}}, "'a' needs 'b' needs 'a'"),
        ({"top": {"x": "a"}, "a": {"x": "c", "y": "b"}, "b": {"z": "a"}, "c": {}}, "'a' needs 'b' needs 'a'"),
    ],
)
def test_circles_are_refused(needs, circle):
    with pytest.raises(CrossdockError, match=circle) as caught:
        refuse_circles({name: kind(name, needed) for name, needed in needs.items()})
    assert caught.value.code is Code.INVALID


def test_what_is_needed_by_many_is_no_circle():
    refuse_circles(KINDS)


def test_a_long_chain_is_no_circle():
    chain = {f"k{n}": kind(f"k{n}", {"x": f"k{n + 1}"} if n < 99 else {}) for n in range(100)}
    refuse_circles(chain)


def test_what_nobody_provides_is_named():
    kinds = {"a": kind("a", {"x": "far", "y": "b"}), "b": kind("b", {"x": "far", "z": "farther"})}
    assert missing_needs(kinds) == {"far": ("a", "b"), "farther": ("b",)}
    assert missing_needs(KINDS) == {}


async def test_a_broker_refuses_kinds_that_could_never_run():
    with pytest.raises(CrossdockError, match=r"'a' needs 'far', which is no kind of job here: .*\[jsonbus\]"):
        await House({"a": kind("a", {"x": "far"})}).open()
    with pytest.raises(CrossdockError, match="circle"):
        await House({"a": kind("a", {"x": "a"})}).open()


# Payloads


def test_a_payload_is_completed_without_touching_the_rest():
    payload = b'{"n": 12345678901234567890123, "f": 1.50, "image": 1}'
    whole = complete(payload, ("image", "more"), (b'"pixels"', b"[1.0]"))
    members = msgspec.json.decode(whole, type=dict[str, msgspec.Raw])
    assert {name: bytes(text) for name, text in members.items()} == {
        "n": b"12345678901234567890123",
        "f": b"1.50",
        "image": b'"pixels"',
        "more": b"[1.0]",
    }


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b'"x"', b"{", b"\xff"])
def test_only_objects_can_be_completed(payload):
    with pytest.raises(CrossdockError, match="image") as caught:
        complete(payload, ("image",), (b"1",))
    assert caught.value.code is Code.INVALID


def test_a_result_that_is_gone_is_told():
    with pytest.raises(CrossdockError, match="'image' is not kept any more") as caught:
        complete(b"{}", ("image",), (None,))
    assert caught.value.code is Code.NOT_FOUND


def test_who_takes_anything_gets_everything():
    payload = b'{"a": 1, "b": 2}'
    assert share(payload, Kind(name="x")) == payload
    assert share(payload, Kind(name="x", raw=True, inputs=closed("a"))) == payload
    assert share(payload, Kind(name="x", inputs=closed("a", "c"))) == b'{"a":1}'
    assert share(b"[1]", Kind(name="x", inputs=closed("a"))) == b"[1]"
