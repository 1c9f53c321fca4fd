"""The end of a broker: it comes, whatever happens meanwhile, and a broker that cannot go on says so."""

import asyncio

import pytest

from brokers import House, turns
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.lifecycle import State
from crossdock.core.requests import Submit


@pytest.mark.parametrize("later", range(6))
async def test_closing_ends_at_whatever_moment_something_is_to_be_done(later):
    house = House(ticking=True)
    broker = await house.open()
    broker._work.set()
    await turns(later)
    async with asyncio.timeout(30):
        await broker.close()


async def test_whoever_waits_for_the_disk_when_the_broker_closes_is_told(valve):
    house, store = valve
    store.shut()
    one = asyncio.create_task(house.broker.intake.submit(Submit(kind="work")))
    await turns()
    two = asyncio.create_task(house.broker.intake.submit(Submit(kind="work")))
    house.broker._tasks[0].cancel()
    await turns()
    house.broker._journal.stop("the broker is closed")
    for task in (one, two):
        with pytest.raises(CrossdockError) as caught:
            await asyncio.wait_for(task, 30)
        assert caught.value.code is Code.UNAVAILABLE


async def test_closing_writes_what_is_pending():
    house = House()
    await house.open()
    await house.attach()
    job = await house.submit()
    await house.lease()
    await house.broker.close()
    [stored] = await house.store.jobs([job.id])
    assert stored.state is State.LEASED


async def test_nothing_is_accepted_after_the_end(house):
    await house.broker.close()
    with pytest.raises(CrossdockError) as caught:
        await house.submit()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_broker_whose_time_keeping_fails_says_so(monkeypatch):
    def fail(_now):
        raise RuntimeError("a bug")

    house = House(ticking=True)
    await house.open()
    monkeypatch.setattr(house.broker._scheduler.agenda, "due", fail)
    house.broker._work.set()
    error = await asyncio.wait_for(house.broker.failed(), 30)
    assert error.code is Code.INTERNAL
    assert "a bug" in error.message
    with pytest.raises(CrossdockError):
        await house.submit()
    await house.crash()


async def test_a_broker_that_fails_after_a_commit_acknowledges_nothing(house, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(house.broker._scheduler, "settled", fail)
    with pytest.raises(CrossdockError):
        await asyncio.wait_for(house.submit(), 30)
    assert (await house.broker.failed()).code is Code.INTERNAL
