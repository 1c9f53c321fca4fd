"""The workers' door: leases, what ends them, and what a report that comes too late can still do."""

import asyncio

import pytest

from brokers import DONE, ERROR, STEADY, WRONG, House, turns
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, Outcome, OutcomeKind, Progress
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides, Policy
from crossdock.core.requests import Capabilities, Note, Submit, WorkerInfo

RELEASED = Outcome(kind=OutcomeKind.RELEASED)


# Attempts


async def test_a_lease_says_everything_a_worker_needs(house):
    job = await house.submit(payload=b"[1]", tenant="t", overrides=Overrides(timeout=9))
    lease = await house.lease()
    assert (lease.job, lease.kind, lease.payload, lease.attempt, lease.tenant) == (job.id, "work", b"[1]", 1, "t")
    assert (lease.length, lease.timeout, lease.grace) == (30, 9, 5)
    running = await house.job(job)
    assert (running.state, running.worker, running.token, running.attempt) == (State.LEASED, "w", lease.token, 1)
    assert running.started == house.clock.wall()


async def test_errors_are_tried_again_with_growing_pauses_until_none_is_left(house):
    job = await house.submit()
    for attempt, wait in ((1, 1.0), (2, 2.0)):
        lease = await house.lease()
        assert lease.attempt == attempt
        assert (await house.report(lease, ERROR)).state is State.WAITING
        await house.advance(wait - 0.01)
        assert await house.claim() == []
        await house.advance(0.01)
    await house.report(await house.lease(), ERROR)
    ended = await house.job(job)
    assert (ended.state, ended.code, ended.message, ended.attempt) == (State.FAILED, "boom", "it broke", 3)
    await house.advance(1000)
    assert await house.events(job) == [
        *("submitted", "leased", "retrying", "due", "leased", "retrying", "due", "leased", "failed"),
    ]


async def test_failures_are_final(house):
    job = await house.submit()
    assert (await house.report(await house.lease(), WRONG)).state is State.FAILED
    assert (await house.job(job)).code == "wrong"


async def test_codes_that_are_not_worth_another_try():
    house = House({"work": Kind(name="work", policy=Policy(non_retryable=("boom",)))})
    await house.open()
    await house.attach()
    await house.submit()
    assert (await house.report(await house.lease(), ERROR)).state is State.FAILED
    await house.crash()


@pytest.mark.parametrize("asked", [0.0, 7.0])
async def test_an_attempt_may_say_when_to_try_again(house, asked):
    job = await house.submit()
    await house.report(await house.lease(), Outcome(kind=OutcomeKind.ERRORED, retry_after=asked))
    await house.advance(max(0.0, asked - 0.1))
    assert (await house.job(job)).state is (State.WAITING if asked else State.READY)
    await house.advance(0.1)
    assert (await house.lease()).attempt == 2


@pytest.mark.parametrize("asked", [float("nan"), float("inf"), -5.0])
async def test_nonsense_about_when_to_try_again_is_ignored(house, asked):
    await house.submit()
    await house.report(await house.lease(), Outcome(kind=OutcomeKind.ERRORED, retry_after=asked))
    await house.advance(1)
    assert (await house.lease()).attempt == 2


async def test_what_is_handed_back_does_not_count_and_goes_first(house):
    job = await house.submit()
    await house.submit()
    for _ in range(5):
        lease = await house.lease()
        assert (lease.job, lease.attempt) == (job.id, 1)
        assert (await house.report(lease, RELEASED)).state is State.READY


# Time


async def test_a_lease_lasts_as_long_as_it_is_renewed(house):
    job = await house.submit()
    lease = await house.lease()
    for _ in range(10):
        await house.advance(29)
        assert (await house.broker.dispatch.renew("w", [lease.token])).alive == (lease.token,)
    await house.advance(30)
    assert (await house.job(job)).state is State.WAITING
    assert (await house.broker.dispatch.renew("w", [lease.token])).alive == ()


async def test_leases_do_not_follow_the_clock_that_people_share(house):
    job = await house.submit()
    lease = await house.lease()
    for jump in (3600, -7200, 10 * 366 * 86400):
        house.clock.jump(jump)
        await house.calm()
        assert (await house.job(job)).state is State.LEASED
    assert (await house.report(lease)).state is State.SUCCEEDED


async def test_leases_outlive_a_standstill_of_the_broker_itself(house, monkeypatch):
    """A stopped process, a disk that hangs: whoever renewed meanwhile is heard only afterwards."""
    job = await house.submit(overrides=Overrides(timeout=20))
    lease = await house.lease()
    loop = asyncio.get_running_loop()
    clockwork = asyncio.create_task(house.broker._keep_time())
    await turns()
    monkeypatch.setattr(loop, "time", lambda time=loop.time: time() + 100)
    house.clock.advance(100)
    house.broker._work.set()
    await turns()
    clockwork.cancel()
    assert (await house.broker.dispatch.renew("w", [lease.token])).alive == (lease.token,)
    await house.advance(26)
    assert (await house.events(job)) == ["submitted", "leased"]
    await house.advance(4)
    assert (await house.events(job))[-1] == "retrying"


async def test_poison_ends_after_its_attempts(house):
    job = await house.submit()
    for _ in range(3):
        await house.lease()
        await house.advance(30)
        await house.advance(2)
    ended = await house.job(job)
    assert (ended.state, ended.code, ended.attempt) == (State.FAILED, "lost", 3)


async def test_an_attempt_that_takes_too_long_is_ended_even_if_its_worker_renews(house):
    job = await house.submit(overrides=Overrides(timeout=20, attempts=1))
    lease = await house.lease()
    for _ in range(5):
        await house.advance(5)
        await house.broker.dispatch.renew("w", [lease.token])
    assert (await house.job(job)).state is State.LEASED
    await house.advance(5)
    ended = await house.job(job)
    assert (ended.state, ended.code) == (State.FAILED, "timeout")


async def test_the_timeout_of_an_attempt_goes_on_over_a_restart(house):
    job = await house.submit(overrides=Overrides(timeout=20, attempts=1))
    lease = await house.lease()
    await house.advance(15)
    await house.restart()
    await house.attach(tokens=[lease.token])
    await house.advance(15)
    assert (await house.job(job)).code == "timeout"


async def test_a_job_that_nobody_takes_in_time_fails(house):
    job = await house.submit(requirements=(("gpu", "yes"),), overrides=Overrides(queue_timeout=10))
    await house.advance(9.9)
    assert (await house.job(job)).state is State.READY
    await house.advance(0.1)
    assert (await house.job(job)).code == "queue_timeout"
    await house.attach(gpu=("yes",))
    assert await house.claim() == []


async def test_the_limits_of_a_job_go_before_those_of_its_kind_over_a_restart():
    house = House({"work": Kind(name="work", policy=Policy(queue_timeout=1000))})
    await house.open()
    job = (await house.broker.intake.submit(Submit(kind="work", overrides=Overrides(queue_timeout=0)))).job
    await house.restart()
    assert (await house.job(job)).code == "queue_timeout"


async def test_a_job_that_was_taken_in_time_may_queue_again(house):
    job = await house.submit(overrides=Overrides(queue_timeout=10))
    await house.report(await house.lease(), ERROR)
    await house.advance(20)
    assert (await house.job(job)).state is State.READY


@pytest.mark.parametrize("where", ["ready", "leased", "waiting"])
async def test_the_total_time_ends_a_job_wherever_it_is(house, where):
    job = await house.submit(overrides=Overrides(total_timeout=10), delay=60 if where == "waiting" else None)
    lease = await house.lease() if where == "leased" else None
    await house.advance(10)
    ended = await house.job(job)
    assert (ended.state, ended.code) == (State.FAILED, "total_timeout")
    if lease is not None:
        assert (await house.broker.dispatch.renew("w", [lease.token])).alive == ()
    assert await house.claim() == []


async def test_delays_and_limits_survive_a_restart(house):
    delayed = await house.submit(delay=100)
    limited = await house.submit(requirements=(("gpu", "yes"),), overrides=Overrides(queue_timeout=50))
    doomed = await house.submit(requirements=(("gpu", "yes"),), overrides=Overrides(total_timeout=60))
    await house.advance(40)
    await house.restart()
    await house.advance(10)
    assert (await house.job(limited)).code == "queue_timeout"
    await house.advance(10)
    assert (await house.job(doomed)).code == "total_timeout"
    await house.attach()
    await house.advance(39)
    assert await house.claim() == []
    await house.advance(1)
    assert (await house.lease()).job == delayed.id


@pytest.mark.parametrize("what", ["delayed", "retrying"])
async def test_a_clock_that_was_set_back_does_not_hold_jobs_after_a_restart(house, what):
    await house.submit(delay=5 if what == "delayed" else None)
    if what == "retrying":
        await house.report(await house.lease(), ERROR)
    house.clock.jump(-86400)
    await house.restart()
    await house.attach()
    await house.advance(5)
    assert len(await house.claim()) == 1


# Late and repeated reports


async def lost(house):
    """A lease that was lost, and its job."""
    job = await house.submit()
    lease = await house.lease()
    await house.advance(30)
    return job, lease


async def test_a_late_success_counts_while_nobody_else_has_begun(house):
    job, lease = await lost(house)
    verdict = await house.report(lease)
    assert (verdict.late, verdict.state) == (False, State.SUCCEEDED)
    await house.advance(60)
    assert await house.claim() == []
    assert (await house.events(job))[-2:] == ["retrying", "succeeded"]


async def test_a_late_success_also_counts_when_the_job_is_queued_again(house):
    job, lease = await lost(house)
    await house.advance(1)
    assert (await house.job(job)).state is State.READY
    assert not (await house.report(lease)).late
    assert await house.claim() == []


@pytest.mark.parametrize("outcome", [DONE, ERROR, WRONG])
async def test_once_the_job_is_leased_again_a_late_report_is_logged_and_changes_nothing(house, outcome):
    job, old = await lost(house)
    await house.advance(1)
    new = await house.lease()
    verdict = await house.report(old, outcome)
    assert (verdict.late, verdict.state) == (True, State.LEASED)
    assert (await house.events(job))[-1] == "late"
    assert (await house.job(job)).token == new.token
    assert not (await house.report(new)).late


@pytest.mark.parametrize("outcome", [ERROR, WRONG, RELEASED])
async def test_late_reports_that_are_no_success_change_nothing(house, outcome):
    job, lease = await lost(house)
    assert (await house.report(lease, outcome)).late
    assert (await house.job(job)).state is State.WAITING


async def test_a_report_that_is_repeated_gets_the_same_answer_and_is_not_logged(house):
    job = await house.submit()
    lease = await house.lease()
    first = await house.report(lease)
    before = await house.log(job)
    assert await house.report(lease) == first
    assert await house.log(job) == before


async def test_a_different_report_after_the_end_is_late(house):
    job = await house.submit()
    lease = await house.lease()
    await house.report(lease)
    assert (await house.report(lease, WRONG)).late
    assert (await house.report(lease, Outcome(kind=OutcomeKind.SUCCEEDED, result=b"2"))).late
    ended = await house.job(job)
    assert (ended.state, ended.result) == (State.SUCCEEDED, b"1")
    assert [entry.offset for entry in await house.log(job)] == list(range(ended.events))


async def test_tokens_that_were_never_issued_are_late(house):
    assert (await house.broker.dispatch.report(12345, DONE)).late


# Notes


async def test_progress_and_log_lines_are_entries(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.dispatch.note(lease.token, Note(Progress(1, 3, "one")))
    await house.broker.dispatch.note(lease.token, Note(Progress(2, 3), "two"))
    await house.calm()
    assert (await house.job(job)).progress == Progress(2, 3)
    assert (await house.events(job))[-3:] == ["progress", "progress", "log"]
    await house.report(lease)
    await house.broker.dispatch.note(lease.token, Note(Progress(3, 3)))
    assert (await house.job(job)).progress == Progress(2, 3)


# Workers come and go


async def test_what_a_leaving_worker_holds_is_handed_back(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.dispatch.detach("w")
    assert (await house.job(job)).state is State.READY
    await house.attach("other")
    assert (await house.lease("other")).attempt == 1
    assert (await house.report(lease)).late
    await house.broker.dispatch.detach("nobody")


async def test_workers_have_to_attach(house):
    for call in (house.claim("nobody"), house.broker.dispatch.renew("nobody", [])):
        with pytest.raises(CrossdockError) as caught:
            await call
        assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(CrossdockError):
        house.broker.oversight.drain("nobody")


async def test_ids_of_workers_inside_the_process_are_their_own(house):
    for info in (WorkerInfo(id="local/x"), WorkerInfo(id="x", local=True)):
        with pytest.raises(CrossdockError, match="begin with"):
            await house.broker.dispatch.attach(info)


async def test_a_worker_takes_up_its_lease_after_a_restart(house):
    job = await house.submit()
    lease = await house.lease()
    await house.calm()
    await house.restart()
    renewal = await house.attach(tokens=[lease.token, 77])
    assert (renewal.alive, renewal.cancelled) == ((lease.token,), ())
    assert [(view.leases, view.idle_since) for view in house.broker.oversight.workers()] == [((lease.token,), None)]
    assert (await house.report(lease)).state is State.SUCCEEDED
    assert (await house.job(job)).attempt == 1


async def test_nobody_takes_up_the_lease_of_somebody_else(house):
    await house.submit()
    lease = await house.lease()
    assert (await house.attach("thief", tokens=[lease.token])).alive == ()
    assert (await house.broker.dispatch.renew("thief", [lease.token])).alive == ()


async def test_a_lease_that_nobody_takes_up_after_a_restart_is_lost(house):
    job = await house.submit()
    await house.lease()
    await house.calm()
    await house.restart()
    assert (await house.job(job)).state is State.LEASED
    await house.advance(30)
    assert (await house.job(job)).state is State.WAITING


async def test_leases_inside_the_process_end_with_it(house):
    info = WorkerInfo(id="local/1", local=True, capabilities=Capabilities(values={"kind": ("work",)}))
    await house.broker.dispatch.attach(info)
    job = await house.submit()
    await house.lease("local/1")
    await house.advance(1000)
    assert (await house.job(job)).state is State.LEASED
    await house.restart()
    assert (await house.job(job)).state is State.WAITING
    assert "retrying" in await house.events(job)


async def test_tokens_grow_over_restarts(house):
    tokens = []
    for _ in range(3):
        await house.submit()
        tokens.append((await house.lease()).token)
        await house.restart()
        await house.attach()
    assert tokens == sorted(set(tokens))


async def test_a_draining_worker_finishes_what_it_has_and_gets_no_more(house):
    await house.submit()
    await house.submit()
    lease = await house.lease()
    house.broker.oversight.drain("w")
    assert await house.claim() == []
    assert (await house.broker.dispatch.renew("w", [lease.token])).alive == (lease.token,)
    assert [view.draining for view in house.broker.oversight.workers()] == [True]
    assert (await house.report(lease)).state is State.SUCCEEDED


async def test_a_draining_worker_is_not_woken_in_place_of_another(house):
    draining = asyncio.create_task(house.broker.dispatch.claim("w", 1, 60))
    await turns()
    house.broker.oversight.drain("w")
    await turns()
    await house.attach("other")
    other = asyncio.create_task(house.broker.dispatch.claim("other", 1, 60))
    await turns()
    await house.submit()
    await turns()
    assert other.done()
    draining.cancel()


async def test_a_waiting_worker_is_woken_by_a_job_it_can_run(house):
    await house.attach("gpu", gpu=("yes",))
    plain = asyncio.create_task(house.broker.dispatch.claim("w", 1, 60))
    await turns()
    able = asyncio.create_task(house.broker.dispatch.claim("gpu", 1, 60))
    await turns()
    await house.submit(requirements=(("gpu", "yes"),))
    await turns()
    assert able.done()
    assert not plain.done()
    plain.cancel()


@pytest.mark.parametrize("fate", ["gives up", "drains", "leaves"])
async def test_what_a_worker_was_woken_for_and_cannot_take_is_given_to_another(house, fate, monkeypatch):
    await house.attach("other")
    claims = {name: asyncio.create_task(house.broker.dispatch.claim(name, 1, 60)) for name in ("w", "other")}
    await turns()
    scheduler = house.broker._scheduler
    wake = scheduler._wake

    def meanwhile(worker):
        wake(worker)
        if worker == "w":
            ends = {"gives up": claims["w"].cancel, "drains": lambda: house.broker.oversight.drain("w")}
            ends.get(fate, lambda: scheduler.fleet.detach("w"))()

    monkeypatch.setattr(scheduler, "_wake", meanwhile)
    job = await house.submit()
    await turns()
    assert [lease.job for lease in claims["other"].result()] == [job.id]
    claims["w"].cancel()
    await asyncio.gather(claims["w"], return_exceptions=True)


async def test_a_worker_that_takes_other_work_than_it_was_woken_for_wakes_the_next(house):
    for name, offers in (("both", "xy"), ("y", "y"), ("x", "x")):
        await house.attach(name, **dict.fromkeys(offers, ("1",)))
    claims = {}
    for name in ("both", "y", "x"):
        claims[name] = asyncio.create_task(house.broker.dispatch.claim(name, 1, 60))
        await turns()
    batch = [Submit(kind="work", requirements=((name, "1"),), priority=name == "y") for name in "xy"]
    await house.broker.intake.submit_batch(batch)
    await turns()
    assert [claims[name].done() for name in ("both", "y", "x")] == [True, False, True]
    claims["y"].cancel()


async def test_a_claim_that_comes_again_is_woken_though_the_one_before_it_gives_up(house):
    before, again = (asyncio.create_task(house.broker.dispatch.claim("w", 1, 60)) for _ in range(2))
    await turns()
    before.cancel()
    await turns()
    await house.submit()
    await turns()
    assert len(again.result()) == 1


async def test_a_worker_that_learns_something_new_gets_what_waited_for_it(house):
    await house.submit(requirements=(("gpu", "yes"),))
    assert await house.claim() == []
    await house.attach(gpu=("yes",))
    assert len(await house.claim()) == 1
    await house.submit(requirements=(("gpu", "yes"),))
    await house.attach()
    assert await house.claim() == []


async def test_priorities_and_tenants_decide_who_is_next():
    house = House(weights={"big": 3.0})
    await house.open()
    await house.attach()
    for tenant in ("big", "small"):
        for _ in range(40):
            await house.submit(tenant=tenant)
    urgent = await house.submit(tenant="small", priority=1)
    leases = await house.claim(limit=21)
    assert leases[0].job == urgent.id
    assert [lease.tenant for lease in leases[1:]].count("big") == 15
    await house.crash()


# Why is it not running


async def test_explanations(house):
    explain = house.broker.oversight.explain
    parent = await house.submit()
    assert explain(parent) == "1 worker(s) can run it, 1 of them free; 1 job(s) of this class are queued"
    child = await house.submit(after=(parent.id,))
    assert explain(child) == f"it waits for the job {encode_id(parent.id)} to succeed"
    assert explain(await house.submit(delay=9)) == "it waits for its time"
    choosy = await house.submit(requirements=(("gpu", "yes"), ("hwgroup", "a|b")))
    assert explain(choosy).startswith("no worker offers gpu=yes and hwgroup=a|b")
    lease = await house.lease()
    assert explain(await house.job(parent)) == "it is running"
    await house.report(lease)
    assert explain(await house.job(parent)) == "it has succeeded"
    assert explain(await house.broker.intake.cancel(choosy.id)) == "it was cancelled"
    await house.broker.dispatch.detach("w")
    assert explain(await house.submit()).startswith("no worker is attached")


async def test_statistics_count_what_is_going_on(house):
    await house.submit()
    await house.submit()
    await house.submit(requirements=(("gpu", "yes"),))
    await house.advance(5)
    lease = await house.lease()
    stats = house.broker.stats()
    assert (stats.queued, stats.running, stats.slots, stats.full) == ({"work": 2}, {"work": 1}, 1, False)
    assert stats.oldest == pytest.approx(5, abs=0.01)
    await house.report(lease)
    assert house.broker.stats().finished == {("work", State.SUCCEEDED): 1}


async def test_silent_workers_are_forgotten_when_they_hold_nothing(house):
    await house.attach("busy")
    await house.submit()
    await house.lease("busy")
    for _ in range(5):
        await house.advance(29)
        tokens = [token for view in house.broker.oversight.workers() for token in view.leases]
        await house.broker.dispatch.renew("busy", tokens)
    assert [view.info.id for view in house.broker.oversight.workers()] == ["busy"]


async def test_policies_of_kinds_hold():
    policy = Policy(attempts=1, lease=3, timeout=2, grace=1, backoff=9)
    house = House({"work": Kind(name="work", policy=STEADY), "short": Kind(name="short", policy=policy)})
    await house.open()
    await house.attach()
    await house.submit("short")
    lease = await house.lease()
    assert (lease.length, lease.timeout, lease.grace) == (3, 2, 1)
    await house.advance(3)
    assert (await house.job(lease.job)).state is State.FAILED
    await house.crash()


async def test_a_claim_that_is_given_up_hands_back_what_is_still_its_own(house, monkeypatch):
    """The first job was leased and taken away again while the table of the second is read."""
    first = await house.submit()
    second = await house.submit(array=ArraySpec(count=1, table=b'[{"x":"%s"}]' % (b"y" * 70_000)))

    async def hang(*_):
        await asyncio.Event().wait()
        yield b""

    with monkeypatch.context() as patch:
        patch.setattr(house.artifacts, "read", hang)
        claim = asyncio.create_task(house.claim(limit=5))
        await turns()
        assert (await house.job(first)).state is State.LEASED
        await house.broker.intake.cancel(first.id, "hard")
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
    await house.calm()
    assert [lease.job for lease in await house.claim(limit=5)] == [second.id]
