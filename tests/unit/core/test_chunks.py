"""Arrays: accepted whole, leased in chunks, counted, cancelled and run again as one job."""

import asyncio
import time

import pytest

from brokers import DONE, ERROR, STEADY, WRONG, House
from crossdock.core.changes import SEGMENT
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides


def outcomes(indexes, outcome=DONE):
    return [MemberOutcome(index=index, outcome=outcome) for index in indexes]


async def run(house, lease, outcome=DONE):
    return await house.broker.dispatch.report_members(lease.token, outcomes(lease.members.indexes, outcome))


async def work_off(house, judge=lambda _index: DONE):
    """Run every member that can be had."""
    count = 0
    while leases := await house.claim():
        for lease in leases:
            told = [MemberOutcome(index=index, outcome=judge(index)) for index in lease.members.indexes]
            await house.broker.dispatch.report_members(lease.token, told)
            count += len(told)
    return count


async def views(house, array, state=None):
    return [view async for view in house.broker.intake.members(array.id, state)]


async def test_a_million_members_are_accepted_in_one_call_within_a_second(house):
    began = time.thread_time()
    array = await house.submit(array=ArraySpec(count=1_000_000))
    assert time.thread_time() - began < 1
    assert (await house.job(array)).tally.total == 1_000_000


async def test_members_get_their_parameters_and_the_array_its_tally(house):
    array = await house.submit(payload=b'{"a":1}', array=ArraySpec(count=3, name="x", start=10, step=5))
    lease = await house.lease()
    assert lease.members.indexes == (0,)
    assert lease.members.parameters == ({"x": 10},)
    assert (lease.payload, lease.attempt) == (b'{"a":1}', 1)
    await run(house, lease)
    job = await house.job(array)
    assert (job.state, job.tally.succeeded, job.tally.finished) == (State.LEASED, 1, 1)
    assert await work_off(house) == 2
    job = await house.job(array)
    assert (job.state, job.tally.succeeded) == (State.SUCCEEDED, 3)
    assert [view.result for view in await views(house, array)] == [b"1"] * 3


async def test_rows_of_a_table_are_parameters(house):
    await house.submit(array=ArraySpec(count=2, table=b'[{"x":1},{"x":2}]'))
    assert (await house.lease()).members.parameters == ({"x": 1},)
    assert (await house.lease()).members.parameters == ({"x": 2},)


async def test_chunks_grow_when_members_are_short(house):
    await house.submit(array=ArraySpec(count=100_000))
    sizes = []
    for _ in range(4):
        lease = await house.lease()
        sizes.append(len(lease.members.indexes))
        house.clock.advance(0.001 * sizes[-1])
        await run(house, lease)
    assert sizes[0] == 1
    assert sizes[1] >= 900


async def test_failed_members_are_listed_and_can_be_run_again(house):
    array = await house.submit(array=ArraySpec(count=20, name="i"))
    await work_off(house, lambda index: WRONG if index in {3, 17} else DONE)
    job = await house.job(array)
    assert (job.state, job.code, job.tally.failed) == (State.FAILED, "members_failed", 2)
    failed = await views(house, array, "failed")
    assert [(view.index, view.code, view.message) for view in failed] == [
        (3, "wrong", "it cannot work"),
        (17, "wrong", "it cannot work"),
    ]
    again = await house.broker.intake.retry(array.id)
    assert (again.retry_of, again.array.count) == (array.id, 2)
    assert (await house.lease()).members.parameters == ({"i": 3},)
    assert (await house.lease()).members.parameters == ({"i": 17},)


async def test_reading_a_large_array_gives_others_a_turn_in_every_segment(house):
    array = await house.submit(array=ArraySpec(count=20 * SEGMENT))
    await house.broker.intake.cancel(array.id)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await views(house, array, "failed") == []
    task.cancel()
    assert turns >= 20


async def test_a_member_that_errs_is_tried_again_after_its_back_off(house):
    array = await house.submit(array=ArraySpec(count=1))
    for wait in (1.0, 2.0):
        await run(house, await house.lease(), ERROR)
        await house.advance(wait - 0.1)
        assert await house.claim() == []
        await house.advance(0.1)
    await run(house, await house.lease(), ERROR)
    job = await house.job(array)
    assert (job.state, job.tally.failed) == (State.FAILED, 1)
    [view] = await views(house, array)
    assert (view.attempt, view.code) == (3, "boom")


async def test_a_member_says_itself_when_to_try_again(house):
    await house.submit(array=ArraySpec(count=1))
    again = Outcome(kind=OutcomeKind.ERRORED, retry_after=60.0)
    await run(house, await house.lease(), again)
    await house.advance(59)
    assert await house.claim() == []
    await house.advance(1)
    assert await house.claim() != []


async def chunk_of(house, size):
    """Lease members until a chunk of that size comes."""
    first = await house.lease()
    house.clock.advance(0.999 / size)
    await run(house, first)
    lease = await house.lease()
    assert len(lease.members.indexes) == size
    return lease


async def test_a_lost_chunk_blames_only_the_first_member_that_was_not_reported(house):
    array = await house.submit(array=ArraySpec(count=1000), overrides=Overrides(attempts=1))
    lease = await chunk_of(house, 10)
    told, blamed, *unbegun = lease.members.indexes
    await house.broker.dispatch.report_members(lease.token, outcomes([told]))
    await house.advance(lease.length)
    failed = await views(house, array, "failed")
    assert [(view.index, view.code) for view in failed] == [(blamed, "lost")]
    again = [index for lease in await house.claim(limit=100) for index in lease.members.indexes]
    assert set(unbegun) <= set(again)
    assert not {told, blamed} & set(again)


async def test_a_chunk_that_is_handed_back_blames_nobody(house):
    array = await house.submit(array=ArraySpec(count=1000), overrides=Overrides(attempts=1))
    lease = await chunk_of(house, 10)
    await house.broker.dispatch.detach("w")
    await house.attach()
    assert (await house.job(array)).tally.failed == 0
    again = [index for lease in await house.claim(limit=100) for index in lease.members.indexes]
    assert set(lease.members.indexes) <= set(again)


async def test_reports_of_an_ended_chunk_are_late(house):
    await house.submit(array=ArraySpec(count=2))
    lease = await house.lease()
    await run(house, lease)
    assert (await run(house, lease)).late


async def test_a_member_counts_once_however_often_it_is_reported(house):
    array = await house.submit(array=ArraySpec(count=1000))
    lease = await chunk_of(house, 10)
    index = lease.members.indexes[0]
    for _ in range(3):
        await house.broker.dispatch.report_members(lease.token, outcomes([index, index]))
    assert (await house.job(array)).tally.succeeded == 2


async def test_members_of_other_chunks_are_ignored(house):
    array = await house.submit(array=ArraySpec(count=1000))
    lease = await chunk_of(house, 10)
    await house.broker.dispatch.report_members(lease.token, outcomes([999, 5000, -1]))
    assert (await house.job(array)).tally.succeeded == 1


async def test_cancelling_an_array_that_has_not_begun_cancels_every_member(house):
    array = await house.submit(array=ArraySpec(count=100))
    job = await house.broker.intake.cancel(array.id)
    assert (job.state, job.tally.cancelled) == (State.CANCELLED, 100)
    assert (await house.broker.intake.member(array.id, 5)).state is State.CANCELLED
    assert [view.index for view in await views(house, array, "cancelled")] == list(range(100))


async def test_cancelling_a_running_array_waits_for_its_chunks(house):
    array = await house.submit(array=ArraySpec(count=100))
    lease = await house.lease()
    job = await house.broker.intake.cancel(array.id)
    assert (job.state, job.cancel_requested) == (State.LEASED, True)
    assert (await house.broker.dispatch.renew("w", [lease.token])).cancelled == (lease.token,)
    await run(house, lease, Outcome(kind=OutcomeKind.CANCELLED))
    job = await house.job(array)
    assert (job.state, job.tally.cancelled) == (State.CANCELLED, 100)


async def test_an_array_that_is_being_cancelled_gives_out_no_more_members(house):
    array = await house.submit(array=ArraySpec(count=100))
    lease = await house.lease()
    await house.broker.intake.cancel(array.id)
    assert await house.claim() == []
    await run(house, lease)
    job = await house.job(array)
    assert (job.state, job.tally.succeeded, job.tally.cancelled) == (State.CANCELLED, 1, 99)


async def test_an_array_whose_worker_does_not_stop_is_cancelled_after_the_grace_period(house):
    array = await house.submit(array=ArraySpec(count=100))
    await house.lease()
    await house.broker.intake.cancel(array.id)
    await house.advance(10.1)
    job = await house.job(array)
    assert (job.state, job.tally.cancelled) == (State.CANCELLED, 100)


async def test_a_hard_cancel_takes_the_chunks_away(house):
    array = await house.submit(array=ArraySpec(count=100))
    lease = await house.lease()
    job = await house.broker.intake.cancel(array.id, "hard")
    assert (job.state, job.tally.cancelled) == (State.CANCELLED, 100)
    assert (await run(house, lease)).late
    assert (await house.broker.dispatch.renew("w", [lease.token])).alive == ()


async def test_an_array_that_ends_for_lack_of_time_counts_the_rest_as_cancelled(house):
    array = await house.submit(array=ArraySpec(count=100), overrides=Overrides(total_timeout=60))
    await run(house, await house.lease())
    await house.advance(60)
    job = await house.job(array)
    assert (job.state, job.code) == (State.FAILED, "total_timeout")
    assert (job.tally.succeeded, job.tally.cancelled) == (1, 99)
    assert (await house.broker.intake.member(array.id, 50)).state is State.CANCELLED


async def test_an_array_of_which_nothing_is_left_is_not_run_again(house):
    array = await house.submit(array=ArraySpec(count=1))
    lease = await house.lease()
    await house.broker.intake.cancel(array.id)
    await run(house, lease)
    with pytest.raises(CrossdockError) as caught:
        await house.broker.intake.retry(array.id)
    assert caught.value.code is Code.CONFLICT


async def test_a_restart_in_the_middle_loses_no_member_and_runs_none_again_that_ended(house):
    array = await house.submit(array=ArraySpec(count=3000))
    ran = []
    for _ in range(5):
        lease = await house.lease()
        house.clock.advance(0.002 * len(lease.members.indexes))
        await run(house, lease)
        ran += lease.members.indexes
    lost = (await house.lease()).members.indexes
    await house.restart()
    await house.attach()
    assert (await house.job(array)).tally.succeeded == len(ran)
    while leases := await house.claim():
        for lease in leases:
            house.clock.advance(0.002 * len(lease.members.indexes))
            await run(house, lease)
            ran += lease.members.indexes
    assert sorted(ran) == list(range(3000))
    assert set(lost) <= set(ran)
    assert (await house.job(array)).state is State.SUCCEEDED


async def test_attempts_of_members_survive_a_restart(house):
    array = await house.submit(array=ArraySpec(count=1), overrides=Overrides(attempts=2))
    await run(house, await house.lease(), ERROR)
    await house.restart()
    await house.attach()
    await run(house, await house.lease(), ERROR)
    assert (await house.job(array)).state is State.FAILED


async def test_a_restart_after_the_last_member_finds_the_array_ended(house):
    array = await house.submit(array=ArraySpec(count=2))
    await work_off(house)
    await house.restart()
    assert (await house.job(array)).state is State.SUCCEEDED
    assert len(await views(house, array)) == 2


async def test_a_result_of_null_is_told_as_such(house):
    array = await house.submit(array=ArraySpec(count=1))
    await run(house, await house.lease(), Outcome(kind=OutcomeKind.SUCCEEDED, result=b"null"))
    view = await house.broker.intake.member(array.id, 0)
    assert (view.state, view.result, view.attempt) == (State.SUCCEEDED, b"null", 1)


async def test_members_outside_an_array_do_not_exist(house):
    array = await house.submit(array=ArraySpec(count=2))
    plain = await house.submit()
    for job, index in ((array, 2), (array, -1), (plain, 0)):
        with pytest.raises(CrossdockError) as caught:
            await house.broker.intake.member(job.id, index)
        assert caught.value.code is Code.NOT_FOUND


async def test_progress_is_noted_at_most_every_half_second(house):
    array = await house.submit(array=ArraySpec(count=1000))
    lease = await chunk_of(house, 20)
    before = (await house.events(array)).count("progress")
    for index in lease.members.indexes:
        await house.broker.dispatch.report_members(lease.token, outcomes([index]))
        house.clock.advance(0.1)
    noted = (await house.events(array)).count("progress") - before
    assert 3 <= noted <= 5


async def test_a_chunk_of_a_worker_that_hangs_and_goes_on_renewing_is_taken_away(house):
    array = await house.submit(array=ArraySpec(count=1), overrides=Overrides(attempts=1, timeout=20))
    lease = await house.lease()
    for _ in range(4):
        await house.advance(10)
        await house.broker.dispatch.renew("w", [lease.token])
    assert (await views(house, array, "failed"))[0].code == "timeout"


async def test_a_table_that_cannot_be_read_fails_the_array_and_nothing_else(house):
    rows = b'[{"x":"%s"},{"x":2}]' % (b"y" * 70_000)
    array = await house.submit(array=ArraySpec(count=2, table=rows))
    other = await house.submit()
    house.artifacts.contents.clear()
    assert [lease.job for lease in await house.claim(limit=5)] == [other.id]
    job = await house.job(array)
    assert (job.state, job.code) == (State.FAILED, "table")


async def test_a_table_at_rest_with_too_few_rows_fails_the_array(house):
    table = await house.artifacts.put(b'[{"x":1}]')
    array = await house.submit(array=ArraySpec(count=2, table=table))
    assert await house.claim() == []
    assert (await house.job(array)).code == "table"


async def test_large_tables_are_artifacts_and_are_read_once_per_start():
    house = House({"work": Kind(name="work", policy=STEADY)})
    await house.open()
    await house.attach()
    rows = b'[{"x":"%s"},{"x":2}]' % (b"y" * 70_000)
    array = await house.submit(array=ArraySpec(count=2, table=rows))
    assert (await house.job(array)).array.table.size == len(rows)
    await house.lease()
    house.artifacts.contents.clear()
    assert (await house.lease()).members.parameters == ({"x": 2},)
    await house.crash()
