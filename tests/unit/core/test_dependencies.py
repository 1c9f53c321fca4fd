"""Jobs that wait for other jobs: chains, several parents, parents that fail, and every moment at which a parent may end."""

import asyncio

import pytest

from brokers import DONE, WRONG, House, Valve, turns
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.requests import Query, Submit
from crossdock.stores.memory import MemoryStore


def result(text):
    return Outcome(kind=OutcomeKind.SUCCEEDED, result=text)


async def test_a_chain_runs_in_order_and_passes_results_on(house):
    first = await house.submit()
    second = await house.submit(after=(first.id,))
    third = await house.submit(after=(second.id,))
    assert (second.state, third.state) == (State.WAITING, State.WAITING)
    inputs = []
    for job, text in ((first, b"1"), (second, b"2"), (third, b"3")):
        lease = await house.lease()
        assert lease.job == job.id
        inputs.append(lease.inputs)
        assert await house.claim() == []
        await house.report(lease, result(text))
        await house.calm()
    assert inputs == [(), (b"1",), (b"2",)]
    assert (await house.job(third)).state is State.SUCCEEDED


async def test_a_job_with_several_parents_waits_for_the_last(house):
    parents = [await house.submit() for _ in range(3)]
    child = await house.submit(after=tuple(parent.id for parent in reversed(parents)))
    for number in range(3):
        assert (await house.job(child)).state is State.WAITING
        await house.report(await house.lease(), result(b"%d" % number))
        await house.calm()
    assert (await house.lease()).inputs == (b"2", b"1", b"0")


async def test_a_parent_that_is_named_twice_is_waited_for_once(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id, parent.id))
    await house.report(await house.lease())
    await house.calm()
    lease = await house.lease()
    assert (lease.job, lease.inputs) == (child.id, (b"1", b"1"))


async def test_many_children_of_one_parent(house):
    parent = await house.submit()
    children = {(await house.submit(after=(parent.id,))).id for _ in range(50)}
    await house.report(await house.lease())
    await house.calm()
    assert {lease.job for lease in await house.claim(limit=100)} == children


async def test_a_parent_that_fails_fails_all_that_wait_for_it(house):
    first = await house.submit()
    second = await house.submit(after=(first.id,))
    third = await house.submit(after=(second.id,))
    await house.report(await house.lease(), WRONG)
    await house.calm()
    for child in (second, third):
        job = await house.job(child)
        assert (job.state, job.code, job.attempt) == (State.FAILED, "dependency_failed", 0)


async def test_a_parent_that_is_cancelled_fails_its_children(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    await house.broker.intake.cancel(parent.id)
    await house.calm()
    assert (await house.job(child)).code == "dependency_failed"


async def test_one_failed_parent_of_several_is_enough(house):
    parents = [await house.submit() for _ in range(2)]
    child = await house.submit(after=tuple(parent.id for parent in parents))
    await house.report(await house.lease(), WRONG)
    await house.calm()
    assert (await house.job(child)).state is State.FAILED
    await house.report(await house.lease())
    await house.calm()
    assert await house.events(child) == ["submitted", "failed"]


async def test_parents_that_have_succeeded_are_not_waited_for(house):
    parent = await house.submit()
    await house.report(await house.lease())
    child = await house.submit(after=(parent.id,))
    assert child.state is State.READY
    assert (await house.lease()).inputs == (b"1",)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_a_job_cannot_come_after_one_that_did_not_succeed(house, state):
    parent = await house.submit()
    if state == "cancelled":
        await house.broker.intake.cancel(parent.id)
    else:
        await house.report(await house.lease(), WRONG)
    with pytest.raises(CrossdockError) as caught:
        await house.submit(after=(parent.id,))
    assert caught.value.code is Code.CONFLICT


async def test_a_job_cannot_come_after_one_that_is_not_there(house):
    with pytest.raises(CrossdockError) as caught:
        await house.submit(after=(123,))
    assert caught.value.code is Code.NOT_FOUND


async def test_a_waiting_child_can_be_cancelled(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    assert (await house.broker.intake.cancel(child.id)).state is State.CANCELLED
    await house.report(await house.lease())
    await house.calm()
    assert await house.claim() == []


async def test_a_child_with_a_delay_waits_for_both(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,), delay=60)
    await house.report(await house.lease())
    await house.advance(59)
    assert await house.claim() == []
    await house.advance(1)
    assert (await house.lease()).job == child.id


async def test_a_child_whose_time_has_come_still_waits_for_its_parent(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,), delay=60)
    await house.advance(61)
    lease = await house.lease()
    assert (lease.job, await house.claim()) == (parent.id, [])
    await house.report(lease)
    await house.calm()
    assert (await house.lease()).job == child.id


async def test_a_clock_that_was_set_back_does_not_hold_a_child_for_ever(house):
    """Its time has passed, then the clock says that it has not, then its parent ends."""
    parent = await house.submit()
    child = await house.submit(after=(parent.id,), delay=60)
    await house.advance(61)
    house.clock.jump(-3600)
    await house.report(await house.lease())
    await house.calm()
    await house.advance(60)
    assert (await house.lease()).job == child.id


@pytest.mark.parametrize("outcome", [DONE, WRONG])
@pytest.mark.parametrize("moment", ["before", "between", "after"])
async def test_restarts_do_not_lose_children(house, moment, outcome):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    if moment == "before":
        await house.restart()
        await house.attach()
    lease = await house.lease()
    if moment == "between":
        await house.calm()
        await house.restart()
        await house.attach(tokens=[lease.token])
    await house.report(lease, outcome)
    if moment == "after":
        await house.crash()
        await house.open()
        await house.attach()
    await house.calm()
    if outcome is DONE:
        assert (await house.lease()).job == child.id
    else:
        assert (await house.job(child)).code == "dependency_failed"


async def test_a_child_that_is_tried_again_does_not_look_at_its_parents_again_after_a_restart(house):
    parent = await house.submit()
    child = await house.submit(after=(parent.id,))
    await house.report(await house.lease())
    await house.calm()
    await house.report(await house.lease(), Outcome(kind=OutcomeKind.ERRORED))
    await house.restart()
    await house.attach()
    await house.advance(1)
    lease = await house.lease()
    assert (lease.job, lease.attempt, lease.inputs) == (child.id, 2, (b"1",))


def _child_and_other(parent):
    """A batch that takes a while to be looked at: after the child's parents comes the key of the other."""
    return [Submit(kind="work", after=(parent.id,)), Submit(kind="work", priority=-1, key="k")]


class Slow(Valve):
    """A store that looks up keys only when it is told to."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def by_key(self, tenant, key):
        self.asked.set()
        await self.answer.wait()
        return await self.store.by_key(tenant, key)


@pytest.mark.parametrize("outcome", [DONE, WRONG])
async def test_a_parent_may_end_while_its_child_is_being_submitted(outcome):
    slow = Slow(MemoryStore())
    house = House(reopen=lambda: slow)
    await house.open()
    await house.attach()
    parent = await house.submit()
    lease = await house.lease()
    submit = asyncio.create_task(house.broker.intake.submit_batch(_child_and_other(parent)))
    await slow.asked.wait()
    await house.report(lease, outcome)
    slow.answer.set()
    child = (await submit)[1][0].job
    await house.calm()
    if outcome is DONE:
        assert (await house.lease()).job == child.id
    else:
        assert (await house.job(child)).code == "dependency_failed"
    await house.crash()


@pytest.mark.parametrize("outcome", [DONE, WRONG])
async def test_a_child_that_could_not_be_written_has_no_life_of_its_own(outcome):
    """The end of its parent is on disk, but when its own turn comes there is no space."""
    slow = Slow(MemoryStore())
    house = House(reopen=lambda: slow)
    await house.open()
    await house.attach()
    parent = await house.submit()
    lease = await house.lease()
    await house.calm()
    submit = asyncio.create_task(house.broker.intake.submit_batch(_child_and_other(parent)))
    await slow.asked.wait()
    slow.shut()
    report = asyncio.create_task(house.report(lease, outcome))
    await turns()
    slow.answer.set()
    await turns()
    slow.plan = [None, StoreFull("full")]
    slow.release()
    await report
    await house.broker.tick()
    with pytest.raises(StoreFull):
        await submit
    await turns()
    await house.calm()
    assert (await house.broker.intake.search(Query())).jobs == (await house.job(parent),)
    assert not house.broker._journal.failure.done()
    await house.crash()
