"""Group commit: what a full disk and a broken store do, and what they do not."""

import asyncio

import pytest

from brokers import DONE, House, Valve, turns
from crossdock.core.errors import Code, CrossdockError, StoreBroken, StoreFull
from crossdock.core.jobs import Subscriber
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Query, Record, Submit

FULL = StoreFull("the disk is full")


@pytest.fixture
def no_pause(monkeypatch):
    """Try a full disk again at once."""
    monkeypatch.setattr("crossdock.core.journal._PROBE", 0.0)


async def fill(store):
    """Let the broker find out that the disk is full."""
    store.error = FULL


async def recover(house, store):
    """Let there be space again, and the broker find out."""
    store.error = None
    async with asyncio.timeout(30):
        while house.broker.stats().full:
            await turns(1)


async def test_what_gathers_during_a_commit_is_one_transaction(valve):
    house, store = valve
    await house.calm()
    store.shut()
    before = store.commits
    submits = [asyncio.create_task(house.submit()) for _ in range(100)]
    await turns()
    store.release()
    await asyncio.gather(*submits)
    assert store.commits - before <= 2


async def test_jobs_that_are_submitted_soon_are_written_together_and_each_can_be_waited_for(valve):
    house, store = valve
    await house.calm()
    store.shut()
    before = store.commits
    begun = [await house.broker.intake.submit_soon(Submit(kind="work")) for _ in range(3)]
    await turns()
    assert not any(written.done() for _, written in begun)
    store.release()
    await asyncio.gather(*(written for _, written in begun))
    assert store.commits == before + 1
    assert [(await house.job(answer.job)).state for answer, _ in begun] == [State.READY] * 3


async def test_a_job_that_is_there_already_need_not_be_waited_for(valve):
    house, _ = valve
    await house.submit(key="k")
    answer, written = await house.broker.intake.submit_soon(Submit(kind="work", key="k"))
    assert answer.existing
    assert written is None


async def test_a_report_that_gets_no_answer_is_written_although_nobody_waits(valve):
    house, store = valve
    job = await house.submit()
    lease = await house.lease()
    await house.calm()
    store.shut()
    before = store.commits
    verdict = await house.broker.dispatch.report_soon(lease.token, DONE)
    assert verdict.state is State.SUCCEEDED
    store.release()
    await turns()
    assert store.commits == before + 1
    assert (await store.jobs((job.id,)))[0].state is State.SUCCEEDED


async def test_a_report_that_gets_no_answer_is_refused_by_a_broker_that_is_closed(valve):
    house, _ = valve
    await house.submit()
    lease = await house.lease()
    await house.broker.close()
    with pytest.raises(CrossdockError, match="not running"):
        await house.broker.dispatch.report_soon(lease.token, DONE)


async def test_a_submit_on_a_full_disk_is_refused_and_has_never_been(valve, no_pause):
    house, store = valve
    await fill(store)
    with pytest.raises(StoreFull):
        await house.submit(key="k")
    with pytest.raises(StoreFull):
        await house.submit(key="k")
    await recover(house, store)
    assert (await house.broker.intake.search(Query())).jobs == ()
    assert await house.claim() == []
    assert not (await house.broker.intake.submit(Submit(kind="work", key="k"))).existing


async def test_while_the_disk_is_full_nothing_is_leased_and_reads_are_served(valve, no_pause):
    house, store = valve
    job = await house.submit()
    await fill(store)
    with pytest.raises(StoreFull):
        await house.submit()
    assert house.broker.stats().full
    with pytest.raises(StoreFull):
        await house.claim()
    assert (await house.job(job)).state is State.READY
    await recover(house, store)
    assert (await house.lease()).job == job.id


async def test_a_report_on_a_full_disk_is_not_acknowledged_but_not_lost(valve, no_pause):
    house, store = valve
    job = await house.submit(notify=(Subscriber("hook", "a"),))
    lease = await house.lease()
    await house.calm()
    await fill(store)
    with pytest.raises(StoreFull):
        await house.report(lease)
    assert await house.broker.outbox.claim("hook", 1) == []
    with pytest.raises(StoreFull):
        await house.job(job)
    await recover(house, store)
    await house.calm()
    assert (await house.job(job)).state is State.SUCCEEDED
    assert not (await house.report(lease)).late
    assert len(await house.broker.outbox.claim("hook", 30)) == 1
    assert await house.events(job) == ["submitted", "leased", "succeeded"]


async def test_what_happens_to_a_job_while_the_disk_is_full_is_written_in_one_go(valve, no_pause):
    """From leased over waiting and ready to cancelled: the store sees the first source and the last state."""
    house, store = valve
    job = await house.submit()
    await house.lease()
    await house.calm()
    await fill(store)
    house.clock.advance(30)
    await house.broker.tick()
    house.clock.advance(1)
    await house.broker.tick()
    await turns()
    with pytest.raises(StoreFull):
        await house.broker.intake.cancel(job.id)
    await recover(house, store)
    await house.calm()
    assert (await house.job(job)).state is State.CANCELLED
    assert await house.events(job) == ["submitted", "leased", "retrying", "due", "cancelled"]
    assert not house.broker._journal.failure.done()


async def test_tallies_are_not_counted_twice_when_a_write_is_tried_again(valve, no_pause):
    house, store = valve
    batch, _ = await house.broker.intake.submit_batch([Submit(kind="work")] * 2)
    one, two = await house.claim(limit=2)
    await house.calm()
    store.plan = [FULL, FULL]
    for lease in (one, two):
        with pytest.raises(StoreFull):
            await house.report(lease)
    await recover(house, store)
    await house.calm()
    tally = await house.broker.intake.batch(batch)
    assert (tally.total, tally.succeeded, tally.failed) == (2, 2, 0)


async def test_records_that_could_not_be_written_are_forgotten(valve, no_pause):
    house, store = valve
    await fill(store)
    with pytest.raises(StoreFull):
        await house.broker.records.put([Record("s", "k", b"1")])
    await recover(house, store)
    await house.calm()
    assert await house.broker.records.get("s", "k") is None


async def test_a_crash_while_the_disk_is_full_loses_only_what_was_not_acknowledged(valve, no_pause):
    house, store = valve
    job = await house.submit()
    lease = await house.lease()
    await house.calm()
    await fill(store)
    with pytest.raises(StoreFull):
        await house.report(lease)
    store.error = None
    store.shut()
    await house.crash()
    store.release()
    await house.open()
    assert (await house.job(job)).state is State.LEASED
    await house.attach(tokens=[lease.token])
    assert (await house.report(lease)).state is State.SUCCEEDED


@pytest.mark.parametrize("error", [StoreBroken("fsync failed"), CrossdockError(Code.CONFLICT, "a bug"), RuntimeError("odd")])
async def test_after_any_other_failure_nothing_is_acknowledged(valve, error):
    house, store = valve
    job = await house.submit()
    lease = await house.lease()
    await house.calm()
    store.error = error
    with pytest.raises(CrossdockError) as caught:
        await house.report(lease)
    assert caught.value.code is Code.UNAVAILABLE
    failure = await asyncio.wait_for(house.broker.failed(), 30)
    assert failure.code is (error.code if isinstance(error, CrossdockError) else Code.INTERNAL)
    store.error = None
    for call in (
        house.submit,
        house.claim,
        lambda: house.job(job),
        lambda: house.report(lease, DONE),
        lambda: house.broker.intake.cancel(job.id),
        lambda: house.broker.records.put([Record("s", "k", b"1")]),
        lambda: house.broker.records.take("s", "k"),
    ):
        with pytest.raises(CrossdockError) as caught:
            await asyncio.wait_for(call(), 30)
        assert caught.value.code is Code.UNAVAILABLE
    await house.restart()
    assert (await house.job(job)).state is State.LEASED


async def test_all_that_wait_are_told_when_the_store_breaks(valve):
    house, store = valve
    await house.calm()
    store.shut()
    submits = [asyncio.create_task(house.submit()) for _ in range(5)]
    await turns()
    submits += [asyncio.create_task(house.submit()) for _ in range(5)]
    await turns()
    store.error = StoreBroken("fsync failed")
    store.release()
    for answer in await asyncio.gather(*submits, return_exceptions=True):
        assert isinstance(answer, CrossdockError)


async def test_a_kill_between_the_commit_and_its_answer_keeps_the_job():
    class Late(Valve):
        async def commit(self, group):
            await self.store.commit(group)
            await asyncio.Event().wait()

    house = House()
    await house.open()
    house.store = house.broker._desk.store
    house.broker._journal._store = Late(house.store)
    submit = asyncio.create_task(house.broker.intake.submit(Submit(kind="work", key="k")))
    await turns()
    submit.cancel()
    await house.restart()
    await house.attach()
    assert (await house.broker.intake.submit(Submit(kind="work", key="k"))).existing
    await house.crash()


async def test_what_a_running_job_says_does_not_pile_up_while_the_disk_is_full(valve, no_pause):
    house, store = valve
    await house.submit()
    lease = await house.lease()
    await fill(store)
    with pytest.raises(StoreFull):
        await house.submit()
    with pytest.raises(StoreFull):
        await house.broker.dispatch.note(lease.token, Note(log="still here"))
    await recover(house, store)
    await house.broker.dispatch.note(lease.token, Note(log="still here"))
    await house.broker.dispatch.report(lease.token, DONE)
