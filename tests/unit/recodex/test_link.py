"""A question whose answer comes in the very turn of the loop in which nobody waits for it any more."""

import asyncio
import time

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease
from crossdock.protocols.recodex import link as module
from crossdock.protocols.recodex.codec import encode_to_worker
from crossdock.protocols.recodex.extension import Claim, Grant, Refused
from crossdock.protocols.recodex.link import Link
from crossdock.protocols.recodex.worker_address import WorkerAddress
from unit.recodex.worker_stage import Stage, answer, welcome

LEASE = Lease(job=1, token=1, attempt=1, kind="add", payload=b"{}", length=30.0)
SHORT = 0.05


class Asker:
    """A worker's link to a broker whose words the test says, and a claim that waits."""

    def __init__(self) -> None:
        self.link = Link(WorkerAddress(endpoint="tcp://127.0.0.1:9"), Stage("add").session, lambda _: None)

    async def ask(self) -> None:
        self.link.start()
        self.hear(welcome())
        self.claim = asyncio.create_task(self.link.ask(Claim(1, 0.0), Grant))
        await asyncio.sleep(0)
        [self.ticket] = self.link._answers

    def hear(self, message) -> None:
        self.link._receive([encode_to_worker(message)])

    def answered(self, body) -> None:
        self.hear(answer(self.ticket, body))

    @property
    def kept(self) -> list[Lease]:
        return self.link.session.next_leases(9)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Nobody is there to hear last words."""
    monkeypatch.setattr(module, "_LAST_WORDS", 0)


@pytest.fixture
async def asker():
    asker = Asker()
    await asker.ask()
    yield asker
    await asker.link.stop()


async def test_a_question_that_is_cancelled_when_it_was_just_refused_is_cancelled(asker):
    asker.answered(Refused(Code.INTERNAL, "no"))
    asker.claim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker.claim
    assert asker.kept == []


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_a_lease_that_comes_with_the_cancellation_is_kept(asker, cancelled_first):
    if cancelled_first:
        asker.claim.cancel()
    asker.answered(Grant((LEASE,)))
    asker.claim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker.claim
    assert asker.kept == [LEASE]


@pytest.mark.parametrize("late", [False, True])
async def test_a_lease_that_comes_with_the_end_of_the_patience_is_kept(monkeypatch, late):
    monkeypatch.setattr(module, "PATIENCE", SHORT)
    asker, loop = Asker(), asyncio.get_running_loop()
    await asker.ask()
    try:
        if late:  # timers that are due run in their order
            loop.call_later(2 * SHORT, asker.answered, Grant((LEASE,)))
        else:  # and after what was to be done soon
            loop.call_soon(asker.answered, Grant((LEASE,)))
        time.sleep(3 * SHORT)  # noqa: ASYNC251 - both are due in the same turn
        with pytest.raises(CrossdockError) as caught:
            await asker.claim
        assert caught.value.code is Code.UNAVAILABLE
        assert asker.kept == [LEASE]
    finally:
        await asker.link.stop()
