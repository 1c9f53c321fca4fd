"""The clients' door: what is accepted, once, and what can be done with it."""

import asyncio

import pytest

from brokers import DONE, ERROR, STEADY, WRONG, House, turns
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, ArtifactRef, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides
from crossdock.core.requests import Query, Record, Submit


def refused(code):
    return pytest.raises(CrossdockError, match=rf"\({code}\)$")


# What is refused


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 10**7},
        {"priority": -(10**7)},
        {"tenant": "t" * 256},
        {"key": ""},
        {"key": "k" * 256},
        {"delay": -1},
        {"delay": float("nan")},
        {"delay": 1e12},
        {"not_before": -5.0},
        {"not_before": float("inf")},
        {"array": ArraySpec(count=0)},
        {"array": ArraySpec(count=10**9)},
        {"array": ArraySpec(count=2), "payload": b"[1]"},
        {"array": ArraySpec(count=2, table=b"[{}]")},
        {"array": ArraySpec(count=1, table=b"{}")},
        {"array": ArraySpec(count=1, table=b"[")},
        {"overrides": Overrides(attempts=0)},
        {"overrides": Overrides(timeout=-1)},
        {"overrides": Overrides(timeout=float("nan"))},
        {"overrides": Overrides(queue_timeout=float("nan"))},
        {"overrides": Overrides(total_timeout=float("inf"))},
        {"overrides": Overrides(keep=-1.0)},
    ],
    ids=str,
)
async def test_what_cannot_become_a_job_is_refused(house, options):
    with refused("invalid"):
        await house.submit(**options)
    assert (await house.broker.intake.search(Query())).jobs == ()


async def test_unknown_kinds_are_refused_with_a_suggestion(house):
    with pytest.raises(CrossdockError, match="did you mean 'work'") as caught:
        await house.submit("wrok")
    assert caught.value.code is Code.NOT_FOUND


def _picky(payload):
    if b"bad" in payload:
        raise CrossdockError(Code.INVALID, "it is bad")


async def test_kinds_check_their_payloads_and_those_of_members():
    house = House({"work": Kind(name="work", check=_picky)})
    await house.open()
    with refused("invalid"):
        await house.submit(payload=b'"bad"')
    with pytest.raises(CrossdockError, match="member 1: it is bad"):
        await house.submit(array=ArraySpec(count=2, table=b'[{"x":"good"},{"x":"bad"}]'))
    await house.crash()


# What is accepted


async def test_a_job_is_on_disk_when_its_submit_returns(valve):
    house, store = valve
    store.shut()
    submit = asyncio.create_task(house.submit())
    await turns()
    assert not submit.done()
    store.release()
    job = await submit
    assert await store.jobs([job.id]) == [job]
    assert await house.events(job) == ["submitted"]


async def test_large_payloads_and_results_become_artifacts(house):
    large = b'"%s"' % (b"x" * 70_000)
    job = await house.submit(payload=large)
    assert isinstance(job.payload, ArtifactRef)
    await house.report(await house.lease(), Outcome(kind=OutcomeKind.SUCCEEDED, result=large))
    result = (await house.job(job)).result
    assert isinstance(result, ArtifactRef)
    assert house.artifacts.contents[result.digest] == large


async def test_records_of_a_submit_are_on_disk_with_it_and_name_the_job(house):
    job = await house.submit(records=(Record("space", "key", b"job {job}"),))
    assert (await house.broker.records.get("space", "key")).value == b"job %d" % job.id


async def test_a_record_of_a_submit_may_have_the_job_s_id_as_its_key(house):
    job = await house.submit(records=(Record("space", "", b"1"),))
    assert (await house.broker.records.get("space", str(job.id))).value == b"1"
    assert await house.broker.records.get("space", "") is None


async def test_jobs_that_are_being_written_cannot_be_touched(valve):
    house, store = valve
    store.shut()
    submit = asyncio.create_task(house.submit())
    await turns()
    [guess] = house.broker._scheduler.newcomers.jobs
    look = asyncio.create_task(house.broker.intake.cancel(guess))
    await turns()
    assert not look.done()
    store.release()
    assert (await submit).id == guess
    assert (await look).state is State.CANCELLED


# Once


async def test_the_same_key_is_the_same_job_also_after_a_restart(house):
    job = await house.submit(key="k")
    again = await house.broker.intake.submit(Submit(kind="work", key="k"))
    assert (again.job.id, again.existing) == (job.id, True)
    await house.restart()
    assert (await house.submit(key="k")).id == job.id
    assert (await house.broker.intake.find("", "k")).id == job.id


async def test_a_repeated_submit_is_the_same_job_also_when_what_it_comes_after_has_failed_meanwhile(house):
    parent = await house.submit()
    request = Submit(kind="work", key="k", after=(parent.id,))
    child = (await house.broker.intake.submit(request)).job
    await house.report(await house.lease(), WRONG)
    await house.calm()
    again = await house.broker.intake.submit(request)
    assert (again.job.id, again.existing, again.job.state) == (child.id, True, State.FAILED)


async def test_keys_belong_to_tenants(house):
    one = await house.submit(key="k", tenant="a")
    two = await house.submit(key="k", tenant="b")
    assert one.id != two.id
    assert await house.broker.intake.find("", "k") is None


async def test_submits_at_the_same_time_with_one_key_are_one_job(house):
    answers = await asyncio.gather(*(house.broker.intake.submit(Submit(kind="work", key="k")) for _ in range(20)))
    assert len({answer.job.id for answer in answers}) == 1
    assert sum(not answer.existing for answer in answers) == 1


async def test_a_submit_whose_caller_has_gone_still_has_its_key(valve):
    house, store = valve
    store.shut()
    first = asyncio.create_task(house.submit(key="k"))
    await turns()
    first.cancel()
    await turns()
    second = asyncio.create_task(house.broker.intake.submit(Submit(kind="work", key="k")))
    await turns()
    store.release()
    assert (await second).existing
    assert len((await house.broker.intake.search(Query())).jobs) == 1


async def test_a_key_can_be_used_again_when_its_submit_was_refused(house):
    with refused("invalid"):
        await house.broker.intake.submit_batch([Submit(kind="work", key="k"), Submit(kind="work", priority=10**9)])
    assert not (await house.broker.intake.submit(Submit(kind="work", key="k"))).existing


async def test_a_key_can_be_used_again_when_its_batch_was_given_up(house, monkeypatch):
    async def fail(*_):
        raise OSError("no space for artifacts")

    monkeypatch.setattr(house.artifacts, "put", fail)
    large = b'"%s"' % (b"x" * 70_000)
    with pytest.raises(OSError, match="artifacts"):
        await house.broker.intake.submit_batch([Submit(kind="work", key="k"), Submit(kind="work", payload=large)])
    assert not (await house.broker.intake.submit(Submit(kind="work", key="k"))).existing


async def test_one_key_twice_in_a_batch_is_refused_whole(house):
    with refused("conflict"):
        await house.broker.intake.submit_batch([Submit(kind="work", key="k"), Submit(kind="work", key="k")])
    assert (await house.broker.intake.search(Query())).jobs == ()


# Batches


async def test_a_batch_counts_how_its_jobs_end(house):
    batch, answers = await house.broker.intake.submit_batch([Submit(kind="work") for _ in range(4)])
    for outcome in (DONE, DONE, WRONG):
        await house.report(await house.lease(), outcome)
    await house.broker.intake.cancel(answers[3].job.id)
    tally = await house.broker.intake.batch(batch)
    assert (tally.total, tally.succeeded, tally.failed, tally.cancelled) == (4, 2, 1, 1)
    await house.restart()
    assert await house.broker.intake.batch(batch) == tally


async def test_a_batch_is_accepted_whole_or_not_at_all(house):
    with refused("not_found"):
        await house.broker.intake.submit_batch([Submit(kind="work"), Submit(kind="nothing")])
    with refused("invalid"):
        await house.broker.intake.submit_batch([])
    assert (await house.broker.intake.search(Query())).jobs == ()


async def test_a_batch_that_is_submitted_again_is_the_same(house):
    requests = [Submit(kind="work", key=f"k{number}") for number in range(3)]
    batch, first = await house.broker.intake.submit_batch(requests)
    again, second = await house.broker.intake.submit_batch(requests)
    assert again == batch
    assert [answer.job.id for answer in first] == [answer.job.id for answer in second]
    assert (await house.broker.intake.batch(batch)).total == 3


async def test_cancelling_a_batch_cancels_what_has_not_ended(house):
    batch, answers = await house.broker.intake.submit_batch([Submit(kind="work") for _ in range(5)])
    await house.report(await house.lease())
    running = await house.lease()
    assert await house.broker.intake.cancel_batch(batch) == 4
    states = [(await house.job(answer.job)).state for answer in answers]
    assert states.count(State.CANCELLED) == 3
    assert (await house.job(running.job)).cancel_requested


# Cancelling


async def test_cancelling_what_waits_ends_it_at_once(house):
    for options in ({}, {"delay": 60}):
        job = await house.submit(**options)
        assert (await house.broker.intake.cancel(job.id)).state is State.CANCELLED
    await house.advance(61)
    assert await house.claim() == []


async def test_cancelling_what_runs_asks_its_worker(house):
    job = await house.submit()
    lease = await house.lease()
    asked = await house.broker.intake.cancel(job.id)
    assert (asked.state, asked.cancel_requested) == (State.LEASED, True)
    assert (await house.broker.dispatch.renew("w", [lease.token])).cancelled == (lease.token,)
    await house.report(lease, Outcome(kind=OutcomeKind.CANCELLED))
    ended = await house.job(job)
    assert (ended.state, ended.outcome) == (State.CANCELLED, OutcomeKind.CANCELLED)


async def test_a_success_beats_a_request_to_cancel_and_an_error_does_not(house):
    for outcome, state in ((DONE, State.SUCCEEDED), (ERROR, State.CANCELLED), (WRONG, State.CANCELLED)):
        job = await house.submit()
        lease = await house.lease()
        await house.broker.intake.cancel(job.id)
        await house.report(lease, outcome)
        assert (await house.job(job)).state is state


async def test_a_worker_that_does_not_stop_loses_the_job_after_the_grace_period(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.intake.cancel(job.id)
    await house.advance(9)
    assert (await house.job(job)).state is State.LEASED
    await house.advance(1.1)
    assert (await house.job(job)).state is State.CANCELLED
    assert (await house.report(lease)).late


async def test_the_grace_period_goes_on_after_a_restart(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.intake.cancel(job.id)
    await house.restart()
    assert (await house.attach(tokens=[lease.token])).cancelled == (lease.token,)
    for _ in range(3):
        await house.advance(5)
        await house.broker.dispatch.renew("w", [lease.token])
    assert (await house.job(job)).state is State.CANCELLED


async def test_a_hard_cancel_does_not_wait(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.intake.cancel(job.id)
    assert (await house.broker.intake.cancel(job.id, "hard")).state is State.CANCELLED
    assert (await house.broker.dispatch.renew("w", [lease.token])).alive == ()


async def test_cancelling_again_or_too_late_changes_nothing(house):
    job = await house.submit()
    await house.report(await house.lease())
    before = await house.job(job)
    assert await house.broker.intake.cancel(job.id) == before
    with refused("not_found"):
        await house.broker.intake.cancel(99)


# Running again


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_what_failed_can_be_run_again_as_a_new_job(house, end):
    old = await house.submit(payload=b"7", priority=3, tenant="t", key="k", requirements=(("b", "1"), ("a", "2")))
    if end == "cancelled":
        await house.broker.intake.cancel(old.id)
    else:
        await house.attach(a=("2",), b=("1",))
        await house.report(await house.lease(), WRONG)
    new = await house.broker.intake.retry(old.id)
    assert (new.retry_of, new.payload, new.priority, new.tenant, new.key) == (old.id, b"7", 3, "t", None)
    assert new.requirements == (("a", "2"), ("b", "1"))
    assert (await house.job(old)).terminal
    assert (await house.job(new)).state is State.READY


async def test_what_did_not_fail_is_not_run_again(house):
    job = await house.submit()
    with refused("conflict"):
        await house.broker.intake.retry(job.id)
    await house.report(await house.lease())
    with refused("conflict"):
        await house.broker.intake.retry(job.id)


async def test_a_job_that_is_run_again_still_comes_after_its_parents(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    await house.broker.intake.cancel(child.id)
    again = await house.broker.intake.retry(child.id)
    assert again.state is State.WAITING
    await house.report(await house.lease())
    await house.calm()
    lease = await house.lease()
    assert (lease.job, lease.inputs) == (again.id, (b"1",))


async def test_a_job_whose_parent_failed_is_not_run_again(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    await house.report(await house.lease(), WRONG)
    await house.calm()
    assert (await house.job(child)).code == "dependency_failed"
    with refused("conflict"):
        await house.broker.intake.retry(child.id)


async def test_a_job_that_is_run_again_gets_the_same_inputs(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    await house.report(await house.lease())
    await house.calm()
    await house.report(await house.lease(), WRONG)
    await house.broker.intake.retry(child.id)
    lease = await house.lease()
    assert lease.inputs == (b"1",)
    await house.report(lease, ERROR)
    await house.restart()
    await house.attach()
    await house.advance(1)
    assert (await house.lease()).inputs == (b"1",)


# Looking


async def test_waiting_returns_with_the_end_and_not_before_it_is_on_disk(valve):
    house, store = valve
    job = await house.submit()
    wait = asyncio.create_task(house.broker.intake.wait(job.id, 60))
    lease = await house.lease()
    await house.calm()
    store.shut()
    report = asyncio.create_task(house.report(lease))
    look = asyncio.create_task(house.job(job))
    await turns()
    assert not wait.done()
    assert not report.done()
    assert not look.done()
    store.release()
    assert (await wait).state is State.SUCCEEDED
    assert (await look).state is State.SUCCEEDED
    assert (await report).state is State.SUCCEEDED


async def test_waiting_gives_up_in_time(house):
    job = await house.submit()
    assert (await house.broker.intake.wait(job.id, 0)).state is State.READY
    with refused("not_found"):
        await house.broker.intake.wait(5, 0)


async def test_changed_returns_once_the_log_has_grown(house):
    job = await house.submit()
    change = asyncio.create_task(house.broker.intake.changed(job.id, 1, 60))
    await turns()
    assert not change.done()
    await house.lease()
    await house.calm()
    assert (await change).state is State.LEASED
    assert len(await house.log(job)) == 2


async def test_nobody_waits_for_the_log_of_a_job_that_has_ended(house):
    job = await house.submit()
    await house.report(await house.lease())
    seen = len(await house.log(job))
    change = asyncio.create_task(house.broker.intake.changed(job.id, seen, 60))
    await turns()
    assert change.done()
    assert (await change).state is State.SUCCEEDED


async def test_the_log_tells_the_whole_story_without_gaps(house):
    job = await house.submit(delay=1)
    await house.advance(1)
    await house.report(await house.lease(), ERROR)
    await house.advance(1)
    lease = await house.lease()
    await house.report(lease)
    log = await house.log(job)
    assert [entry.offset for entry in log] == list(range(len(log)))
    assert [entry.event for entry in log] == ["submitted", "due", "leased", "retrying", "due", "leased", "succeeded"]
    assert (await house.job(job)).events == len(log)


async def test_finished_jobs_are_kept_for_their_time_and_no_longer():
    house = House({"work": Kind(name="work", policy=STEADY), "brief": Kind(name="brief", policy=STEADY)})
    await house.open()
    await house.attach()
    brief = await house.submit("brief", overrides=Overrides(keep=60))
    long = await house.submit()
    for _ in range(2):
        await house.report(await house.lease())
    house.clock.advance(59)
    assert await house.broker.sweep() == 0
    house.clock.advance(1)
    assert await house.broker.sweep() == 1
    with refused("not_found"):
        await house.job(brief)
    assert (await house.job(long)).state is State.SUCCEEDED
    await house.crash()


async def test_a_clock_that_jumps_ahead_expires_nothing(house):
    job = await house.submit()
    await house.report(await house.lease())
    house.clock.jump(10 * 366 * 86400)
    assert await house.broker.sweep() == 0
    assert (await house.job(job)).state is State.SUCCEEDED


async def test_sweeping_deletes_artifacts_that_nobody_needs(house):
    large = b'"%s"' % (b"x" * 70_000)
    await house.submit(payload=large, overrides=Overrides(keep=0.0))
    await house.report(await house.lease())
    house.clock.advance(1)
    assert await house.broker.sweep() == 1
    assert len(house.artifacts.deleted) == 1


async def test_jobs_that_have_not_ended_are_never_swept(house):
    job = await house.submit(overrides=Overrides(keep=0.0))
    await house.advance(10**9)
    await house.broker.sweep()
    assert (await house.job(job)).state is State.READY


async def test_what_a_kind_requires_holds_for_its_jobs_and_for_those_run_again(house):
    house.kinds["choosy"] = Kind(name="choosy", requirements=(("gpu", "a100"),))
    job = await house.submit("choosy", requirements=(("env", "c"),))
    assert job.requirements == (("env", "c"), ("gpu", "a100"))
    assert await house.claim() == []
    await house.broker.intake.cancel(job.id)
    assert (await house.broker.intake.retry(job.id)).requirements == job.requirements


async def test_a_listing_shows_what_has_happened_by_now(house):
    job = await house.submit()
    await house.lease()
    assert [listed.id for listed in (await house.broker.intake.search(Query(states=(State.LEASED,)))).jobs] == [job.id]


async def test_a_key_is_taken_before_anything_is_waited_for(valve):
    """While one submit waits for the parent of its job to be written, another comes under the same key."""
    house, store = valve
    store.shut()
    first = asyncio.create_task(house.submit())
    await turns()
    [parent] = house.broker._scheduler.newcomers.jobs
    late = asyncio.create_task(house.broker.intake.submit(Submit(kind="work", key="k", after=(parent,))))
    await turns()
    quick = asyncio.create_task(house.broker.intake.submit(Submit(kind="work", key="k")))
    await turns()
    store.release()
    await first
    answers = await asyncio.gather(late, quick, return_exceptions=True)
    made = {answer.job.id for answer in answers if not isinstance(answer, CrossdockError)}
    refused = [answer.code for answer in answers if isinstance(answer, CrossdockError)]
    assert len(made) == 1
    assert refused in ([], [Code.CONFLICT])
    assert (await house.broker.intake.find("", "k")).id in made
    assert not house.broker._journal.failure.done()


async def test_a_key_of_a_submit_that_was_refused_is_free_again(house):
    with pytest.raises(CrossdockError):
        await house.submit(key="k", after=(1234,))
    assert (await house.submit(key="k")).key == "k"
