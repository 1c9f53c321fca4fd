"""Notifications that are owed, and the small records of protocols."""

import asyncio

import pytest

from brokers import WRONG, turns
from crossdock.core.errors import StoreFull
from crossdock.core.jobs import Subscriber
from crossdock.core.requests import Record

HOOK = Subscriber("hook", "http://example/1")


async def ended(house, **options):
    job = await house.submit(notify=(HOOK,), **options)
    await house.report(await house.lease())
    return job


async def owed(house, channel="hook", limit=10):
    return await house.broker.outbox.claim(channel, limit)


async def test_the_end_of_a_job_is_told_to_those_who_asked(house):
    job = await ended(house)
    [notification] = await owed(house)
    assert (notification.job, notification.channel, notification.address) == (job.id, "hook", "http://example/1")
    assert (notification.event, notification.attempts) == ("succeeded", 0)
    assert await owed(house) == []


async def test_subscribers_choose_what_they_are_told(house):
    await house.submit(notify=(Subscriber("hook", "a", ("failed",)), Subscriber("mail", "b", ("succeeded",))))
    await house.report(await house.lease(), WRONG)
    assert [notification.address for notification in await owed(house)] == ["a"]
    assert await owed(house, "mail") == []


async def test_nothing_is_told_before_it_is_on_disk(valve):
    house, store = valve
    await house.submit(notify=(HOOK,))
    lease = await house.lease()
    await house.calm()
    store.shut()
    report = asyncio.create_task(house.report(lease))
    await turns()
    assert await owed(house) == []
    store.release()
    await report
    assert len(await owed(house)) == 1


async def test_a_notification_is_owed_until_it_is_delivered_under_the_same_id(house):
    await ended(house)
    [first] = await owed(house)
    await house.restart()
    [second] = await owed(house)
    assert second == first
    await house.broker.outbox.delivered(second)
    await house.calm()
    await house.restart()
    assert await owed(house) == []


async def test_a_postponed_notification_comes_back_in_time(house):
    await ended(house)
    [first] = await owed(house)
    await house.broker.outbox.postpone(first, 60)
    await house.calm()
    assert await owed(house) == []
    await house.advance(59)
    assert await owed(house) == []
    await house.restart()
    await house.advance(1)
    [second] = await owed(house)
    assert (second.id, second.attempts) == (first.id, 1)


async def test_a_notification_that_is_postponed_twice_at_once_comes_once(house):
    await ended(house)
    [first] = await owed(house)
    for _ in range(2):
        await house.broker.outbox.postpone(first, 60)
        await house.calm()
    await house.advance(60)
    assert len(await owed(house)) == 1


@pytest.mark.parametrize("jump", [-86400, -10 * 366 * 86400])
async def test_a_clock_that_is_set_back_holds_no_notification(house, jump):
    await ended(house)
    [first] = await owed(house)
    await house.broker.outbox.postpone(first, 60)
    await ended(house)
    house.clock.jump(jump)
    assert len(await owed(house)) == 1
    await house.advance(60)
    assert [notification.id for notification in await owed(house)] == [first.id]


async def test_a_clock_that_was_set_back_holds_no_notification_after_a_restart(house):
    await ended(house)
    [first] = await owed(house)
    await house.broker.outbox.postpone(first, 60)
    await house.calm()
    house.clock.jump(-86400)
    await house.restart()
    await house.advance(60)
    assert [notification.id for notification in await owed(house)] == [first.id]


async def test_claims_wait_for_the_first(house):
    claim = asyncio.create_task(house.broker.outbox.claim("hook", 10, 60))
    await turns()
    await ended(house)
    assert len(await claim) == 1


async def test_claims_take_the_earliest_up_to_their_limit(house):
    jobs = [await ended(house) for _ in range(3)]
    assert [notification.job for notification in await owed(house, limit=2)] == [job.id for job in jobs[:2]]
    assert [notification.job for notification in await owed(house, limit=2)] == [jobs[2].id]


async def test_ids_of_notifications_are_not_used_again_after_a_restart(house):
    seen = []
    for _ in range(3):
        await ended(house)
        [notification] = await owed(house)
        seen.append(notification.id)
        await house.broker.outbox.delivered(notification)
        await house.calm()
        await house.restart()
        await house.attach()
    assert len(set(seen)) == 3


# Demanded once more


async def test_a_notification_can_be_demanded_again_after_it_was_delivered(house):
    job = await ended(house)
    [first] = await owed(house)
    await house.broker.outbox.delivered(first)
    await house.broker.outbox.demand(job.id, *first_address())
    await house.restart()
    [second] = await owed(house)
    assert (second.job, second.address, second.event) == (job.id, HOOK.address, "demanded")
    assert second.id > first.id


async def test_a_demand_makes_what_was_put_off_due_now(house):
    job = await ended(house)
    [first] = await owed(house)
    await house.broker.outbox.postpone(first, 60)
    await house.calm()
    await house.restart()
    await house.broker.outbox.demand(job.id, *first_address())
    [again] = await owed(house)
    assert (again.id, again.attempts) == (first.id, 1)
    await house.broker.outbox.postpone(again, 100)
    await house.calm()
    await house.advance(60)
    assert await owed(house) == []
    await house.advance(40)
    [last] = await owed(house)
    assert (last.id, last.attempts) == (first.id, 2)
    await house.broker.outbox.delivered(last)
    await house.broker.outbox.demand(job.id, *first_address())
    assert len(await owed(house)) == 1


async def test_others_and_unfinished_jobs_can_be_demanded_too(house):
    job = await house.submit()
    await house.broker.outbox.demand(job.id, "hook", "b")
    [notification] = await owed(house)
    assert notification.address == "b"
    assert not (await house.job(notification.job)).terminal


async def test_a_demand_is_refused_while_the_disk_is_full(valve, monkeypatch):
    monkeypatch.setattr("crossdock.core.journal._PROBE", 0.0)
    house, store = valve
    job = await house.submit()
    store.error = StoreFull("full")
    with pytest.raises(StoreFull):
        await house.broker.outbox.demand(job.id, "hook", "a")


def first_address():
    return HOOK.channel, HOOK.address


# Records


async def test_records_are_kept_until_they_expire(house):
    records = house.broker.records
    await records.put([Record("s", "a", b"1"), Record("s", "b", b"2", house.clock.wall() + 10)])
    assert (await records.get("s", "a")).value == b"1"
    assert (await records.get("s", "b")).value == b"2"
    assert await records.get("other", "a") is None
    await house.advance(10)
    assert await records.get("s", "b") is None
    await house.restart()
    assert (await house.broker.records.get("s", "a")).value == b"1"


async def test_a_record_is_taken_by_one_of_many(valve):
    house, store = valve
    await house.broker.records.put([Record("s", "a", b"1")])
    store.shut()
    takers = [asyncio.create_task(house.broker.records.take("s", "a")) for _ in range(10)]
    await turns()
    takers += [asyncio.create_task(house.broker.records.take("s", "a")) for _ in range(10)]
    await turns()
    store.release()
    taken = [record for record in await asyncio.gather(*takers) if record is not None]
    assert taken == [Record("s", "a", b"1")]
    await house.restart()
    assert await house.broker.records.take("s", "a") is None


async def test_a_forgotten_record_is_gone_at_once_and_soon_for_good(valve):
    house, store = valve
    records = house.broker.records
    await records.put([Record("s", "a", b"1")])
    store.shut()
    records.forget("s", "a")
    assert await records.get("s", "a") is None
    writing = asyncio.create_task(records.put([Record("s", "b", b"2")]))
    await turns()
    assert await records.get("s", "a") is None
    assert await records.take("s", "a") is None
    store.release()
    await writing
    await house.restart()
    assert await house.broker.records.get("s", "a") is None


async def test_a_record_that_could_not_be_taken_for_lack_of_space_is_still_there(valve):
    house, store = valve
    await house.broker.records.put([Record("s", "a", b"1")])
    store.plan = [StoreFull("full")]
    with pytest.raises(StoreFull):
        await house.broker.records.take("s", "a")
    assert await house.broker.records.get("s", "a") == Record("s", "a", b"1")
