"""The feed against a ROUTER socket that plays the original monitor."""

import asyncio
import contextlib
import socket

import pytest
import zmq

from crossdock.core.errors import CrossdockError
from crossdock.protocols.recodex.monitor import Feed


class OtherMonitor:
    """Binds, and calls itself what the broker expects."""

    def __init__(self, port):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IDENTITY, b"recodex-monitor")
        self.socket.bind(f"tcp://127.0.0.1:{port}")

    def heard(self):
        """Return a message without its sender, None if there is none."""
        with contextlib.suppress(zmq.Again):
            return self.socket.recv_multipart(zmq.DONTWAIT)[1:]

    def close(self):
        self.socket.close(0)
        self.context.term()


@pytest.fixture
def port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def monitors(port):
    """Start monitors on the port of the feed."""
    with contextlib.ExitStack() as stack:

        def start():
            monitor = OtherMonitor(port)
            stack.callback(monitor.close)
            return monitor

        yield start


@pytest.fixture
def feed(port):
    feed = Feed(f"tcp://127.0.0.1:{port}")
    feed.start()
    yield feed
    feed.stop()
    feed.stop()


async def until_heard(feed, monitor, *frames):
    """Feed the same again until the monitor has heard it, which it does once it is connected."""
    async with asyncio.timeout(30):
        while True:
            feed.feed("probe", frames)
            if (heard := monitor.heard()) is not None:
                assert heard == [b"probe", *frames]
                break
            await asyncio.sleep(0.02)
    await asyncio.sleep(0)
    while monitor.heard() is not None:
        pass


async def next_message(monitor):
    async with asyncio.timeout(20):
        while (heard := monitor.heard()) is None or heard[0] == b"probe":  # noqa: ASYNC110 - it has no event loop
            await asyncio.sleep(0.01)
        return heard


async def test_progress_reaches_a_monitor(feed, monitors):
    monitor = monitors()
    await until_heard(feed, monitor, b"STARTED")
    feed.feed("student_1", [b"TASK", b"t1", b"COMPLETED"])
    feed.feed("student_1", [b"TASK", b"t1", b"COMPLETED", b"more"])
    feed.feed("student_1", [b"FINISHED"])
    assert await next_message(monitor) == [b"student_1", b"TASK", b"t1", b"COMPLETED"]
    assert await next_message(monitor) == [b"student_1", b"TASK", b"t1", b"COMPLETED"]
    assert await next_message(monitor) == [b"student_1", b"FINISHED"]


async def test_what_would_harm_a_monitor_is_not_sent(feed, monitors):
    monitor = monitors()
    await until_heard(feed, monitor, b"STARTED")
    dropped, sent = feed.dropped, feed.sent
    feed.feed("j", [])
    feed.feed("", [b"STARTED"])
    feed.feed("0", [b"exit"])
    assert (feed.dropped, feed.sent) == (dropped + 3, sent)
    feed.feed("0", [b"STARTED"])
    assert await next_message(monitor) == [b"0", b"STARTED"]


async def test_without_a_monitor_messages_are_dropped_and_counted(feed):
    for _ in range(5000):
        feed.feed("j", [b"STARTED"])
    assert (feed.dropped, feed.sent) == (5000, 0)


async def test_a_monitor_that_hangs_blocks_nobody(feed, monitors):
    monitor = monitors()
    await until_heard(feed, monitor, b"STARTED")
    async with asyncio.timeout(60):
        while not feed.dropped:
            for _ in range(1000):
                feed.feed("j", [b"x" * 1000])
            await asyncio.sleep(0)


async def test_a_monitor_may_go_and_come_back(feed, monitors):
    first = monitors()
    await until_heard(feed, first, b"STARTED")
    first.close()
    async with asyncio.timeout(20):
        before = feed.dropped
        while feed.dropped == before:
            feed.feed("j", [b"STARTED"])
            await asyncio.sleep(0.01)
    second = monitors()
    await until_heard(feed, second, b"ENDED")


def test_a_wrong_address_is_said(port):
    feed = Feed("tcp://nowhere")
    with pytest.raises(CrossdockError):
        feed.start()
    feed.feed("j", [b"STARTED"])
    assert feed.dropped == 1
