"""What every implementation of the ``Signals`` port does."""

import asyncio
import gc

import pytest

from crossdock.core.ports import Signals
from crossdock.signals.local import LocalSignals

BACKENDS = {"local": LocalSignals}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def signals(request: pytest.FixtureRequest) -> Signals:
    return request.param()


async def waiting(signals: Signals, topic: str, timeout: float = 60) -> asyncio.Task[bool]:
    """Return a task that has begun to wait."""
    task = asyncio.create_task(signals.wait(topic, timeout))
    await asyncio.sleep(0)
    return task


async def test_everybody_who_waits_is_woken(signals: Signals) -> None:
    tasks = [await waiting(signals, "job") for _ in range(3)]
    signals.notify("job")
    assert await asyncio.gather(*tasks) == [True, True, True]


async def test_other_topics_sleep_on(signals: Signals) -> None:
    task = await waiting(signals, "one")
    signals.notify("two")
    await asyncio.sleep(0)
    assert not task.done()
    signals.notify("one")
    assert await task


async def test_a_wait_ends_with_its_timeout(signals: Signals) -> None:
    assert await signals.wait("never", 0.001) is False
    assert await signals.wait("never", 0) is False


async def test_a_signal_before_the_wait_is_not_kept(signals: Signals) -> None:
    signals.notify("job")
    assert await signals.wait("job", 0.001) is False


async def test_a_cancelled_wait_does_not_disturb_the_others(signals: Signals) -> None:
    first, second = await waiting(signals, "job"), await waiting(signals, "job")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    signals.notify("job")
    assert await second


async def test_a_woken_waiter_may_wait_again_at_once(signals: Signals) -> None:
    async def twice() -> list[bool]:
        return [await signals.wait("job", 60), await signals.wait("job", 60)]

    task = asyncio.create_task(twice())
    for _ in range(2):
        await asyncio.sleep(0)
        signals.notify("job")
        await asyncio.sleep(0)
    assert await task == [True, True]


async def test_a_signal_and_a_cancellation_at_the_same_moment(signals: Signals) -> None:
    task = await waiting(signals, "job")
    signals.notify("job")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await signals.wait("job", 0.001) is False


async def test_nothing_is_left_of_waits_that_ended(signals: Signals) -> None:
    def futures() -> int:
        gc.collect()
        return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())

    async def wait_all_ways(number: int) -> None:
        # A topic for each way: a later signal on the same one would tidy up what an earlier wait had left.
        await signals.wait(f"timed out {number}", 0)
        cancelled = await waiting(signals, f"cancelled {number}")
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        woken = await waiting(signals, f"woken {number}")
        signals.notify(f"woken {number}")
        await woken

    await wait_all_ways(0)
    before = futures()
    for number in range(1, 200):
        await wait_all_ways(number)
    assert futures() <= before
