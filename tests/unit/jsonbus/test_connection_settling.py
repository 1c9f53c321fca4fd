"""Acknowledgements that go out together: whatever the order, RabbitMQ hears exactly what was settled."""

import asyncio

from aiormq.exceptions import ChannelInvalidStateError
from hypothesis import given
from hypothesis import strategies as st

from crossdock.protocols.jsonbus.settling import Settling


class Ledger:
    """A channel that keeps account of its deliveries as RabbitMQ does, and is slow."""

    def __init__(self, deliveries: int) -> None:
        self.is_closed = False
        self.open = set(range(1, deliveries + 1))
        self.acknowledged: set[int] = set()
        self.rejected: dict[int, bool] = {}
        self.frames = 0

    async def basic_ack(self, tag: int, *, multiple: bool = False, wait: bool) -> None:
        await asyncio.sleep(0)
        if self.is_closed:
            raise ChannelInvalidStateError("closed")
        tags = {open_tag for open_tag in self.open if open_tag <= tag} if multiple else {tag}
        assert tag in self.open, f"406 unknown delivery tag {tag}"
        self.open -= tags
        self.acknowledged |= tags
        self.frames += 1

    async def basic_reject(self, tag: int, *, requeue: bool, wait: bool) -> None:
        await asyncio.sleep(0)
        assert tag in self.open, f"406 unknown delivery tag {tag}"
        self.open.discard(tag)
        self.rejected[tag] = requeue
        self.frames += 1


def settling(ledger: Ledger) -> Settling:
    made = Settling(ledger, lambda: None)
    for tag in sorted(ledger.open):
        made.open[tag] = False
    return made


actions = st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["accept", "requeue", "drop", "turn"])), max_size=80)


@given(actions)
def test_exactly_what_was_settled_is_told_and_only_once(todo):
    async def run() -> None:
        ledger = Ledger(20)
        made = settling(ledger)
        accepted: set[int] = set()
        rejected: dict[int, bool] = {}
        for tag, action in todo:
            if action == "turn":
                await asyncio.sleep(0)
            elif action == "accept":
                made.accept(tag)
                if tag not in rejected:
                    accepted.add(tag)
            else:
                made.reject(tag, requeue=action == "requeue")
                if tag not in accepted:
                    rejected.setdefault(tag, action == "requeue")
        await made.flushed()
        assert ledger.acknowledged == accepted
        assert ledger.rejected == rejected
        assert set(made.open) == ledger.open

    asyncio.run(run())


async def test_a_row_goes_as_one_frame():
    ledger = Ledger(100)
    made = settling(ledger)
    for tag in range(1, 101):
        made.accept(tag)
    await made.flushed()
    assert (len(ledger.acknowledged), ledger.frames) == (100, 1)


async def test_a_gap_is_left_open():
    ledger = Ledger(5)
    made = settling(ledger)
    for tag in (1, 2, 4, 5):
        made.accept(tag)
    await made.flushed()
    assert (ledger.open, ledger.frames) == ({3}, 3)
    assert made.before(2) == 0
    assert made.before(5) == 1


async def test_a_row_takes_nothing_with_it_that_was_given_back_while_others_were_written():
    ledger = Ledger(4)
    made = settling(ledger)
    made.reject(1, requeue=True)
    await asyncio.sleep(0)  # the first one is being written
    made.reject(2, requeue=True)
    made.accept(3)
    await made.flushed()
    assert (ledger.acknowledged, ledger.rejected, ledger.open) == ({3}, {1: True, 2: True}, {4})


async def test_what_is_held_goes_out_when_it_is_released():
    ledger = Ledger(4)
    made = settling(ledger)
    made.accept(1)
    made.hold()
    made.accept(2)
    made.reject(3, requeue=True)
    await made.flushed()
    await asyncio.sleep(0)
    assert ledger.frames == 0
    made.release()
    await made.flushed()
    assert (ledger.open, ledger.rejected) == ({4}, {3: True})


async def test_on_a_channel_that_is_gone_nothing_happens():
    ledger = Ledger(3)
    made = settling(ledger)
    made.accept(1)
    ledger.is_closed = True
    await made.flushed()
    made.accept(2)
    made.reject(3, requeue=True)
    await made.flushed()
    assert ledger.acknowledged == set()
