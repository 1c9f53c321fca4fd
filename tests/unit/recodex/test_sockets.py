"""Messages for a peer that does not read: they are kept, within bounds, and whoever sent them learns of their loss."""

import asyncio
import time

import pytest
import zmq
import zmq.asyncio

from crossdock.protocols.recodex import sockets
from crossdock.protocols.recodex.sockets import Router

LIMIT = 30.0
LARGE = b"x" * 2**20
MANY = 100


@pytest.fixture
async def scene():
    """A router, and a peer that has said hello and reads nothing."""
    heard: list[bytes] = []
    router = Router("tcp://127.0.0.1:0", lambda batch: heard.extend(peer for peer, _ in batch), largest=2**20)
    await router.start()
    context = zmq.asyncio.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.RCVHWM, 1)
    dealer.connect(f"tcp://127.0.0.1:{router.port}")
    await dealer.send(b"hello")
    await until(lambda: heard)
    yield router, heard[0], dealer
    dealer.close(0)
    await router.stop()
    context.term()


async def until(condition) -> None:
    ends = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


def fill(router: Router, peer: bytes) -> None:
    """Send until the transport takes no more, and something is kept."""
    while not router._waiting:
        router.send(peer, [b"x" * 1000])
        router._flush()


async def test_what_was_kept_for_a_peer_that_goes_is_told_to_be_lost(scene):
    router, peer, dealer = scene
    fill(router, peer)
    lost: list[int] = []
    for number in range(3):
        router.send(peer, [b"%d" % number], lambda number=number: lost.append(number))
    router._flush()
    assert lost == []
    dealer.close(0)
    await until(lambda: len(lost) == 3)
    assert lost == [0, 1, 2]
    assert (router._kept, router._kept_bytes, router._waiting) == (0, 0, {})


async def test_what_is_kept_has_a_bound_in_bytes_and_the_rest_is_told_to_be_lost(scene, monkeypatch):
    monkeypatch.setattr(sockets, "_WAITING_BYTES", 10 * len(LARGE))
    router, peer, dealer = scene
    fill(router, peer)
    lost: list[int] = []
    for number in range(MANY):
        router.send(peer, [LARGE], lambda number=number: lost.append(number))
    router._flush()
    await asyncio.sleep(0)
    assert router._kept_bytes < 12 * len(LARGE)
    assert len(lost) == router.dropped >= MANY - 11
    assert lost[-1] == MANY - 1

    async def read() -> None:
        while True:
            await dealer.recv()

    reading = asyncio.create_task(read())
    await until(lambda: not router._waiting)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert (router._kept, router._kept_bytes) == (0, 0)
