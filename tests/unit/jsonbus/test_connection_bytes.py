"""The bytes under the AMQP library: sorted whatever pieces they come in, and writes that go together."""

import asyncio
from collections.abc import Iterator

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from crossdock.protocols.jsonbus.properties import read_properties
from crossdock.protocols.jsonbus.sorting import Sorter
from crossdock.protocols.jsonbus.topology import BUS
from crossdock.protocols.jsonbus.transport import GatheringWriter, SortedReader

BLOCKED = pamqp.frame.marshal(commands.Connection.Blocked("low on memory"), 0)
UNBLOCKED = pamqp.frame.marshal(commands.Connection.Unblocked(), 0)
CLOSE = pamqp.frame.marshal(commands.Connection.Close(320, "shutdown", 0, 0), 0)
DELIVERY = pamqp.frame.marshal(commands.Basic.Deliver("tag", 1, False, "jsonbus", "requests"), 1)
BEAT = pamqp.frame.marshal(Heartbeat(), 0)
DECOY = pamqp.frame.marshal(ContentBody(BLOCKED + UNBLOCKED), 1)
"""A body that looks like the frames we listen for."""
TOLD = {BLOCKED: "Connection.Blocked", UNBLOCKED: "Connection.Unblocked", CLOSE: "Connection.Close"}

STREAM = st.lists(st.sampled_from([BLOCKED, UNBLOCKED, CLOSE, DELIVERY, BEAT, DECOY]), max_size=30)
PIECES = st.lists(st.integers(1, 40), min_size=1)


def pieces(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut a stream as a socket might."""
    place, turn = 0, 0
    while place < len(stream):
        size = sizes[turn % len(sizes)]
        yield stream[place : place + size]
        place, turn = place + size, turn + 1


@given(STREAM, PIECES)
def test_what_is_said_about_the_connection_is_heard_in_any_pieces(sent, sizes):
    heard = []
    sorter = Sorter(heard.append)
    stream = b"".join(sent)
    assert b"".join(map(sorter.sort, pieces(stream, sizes))) == stream
    assert [frame.name for frame in heard] == [TOLD[frame] for frame in sent if frame in TOLD]


def delivered(tag: int, channel: int, body: bytes) -> list[bytes]:
    """Return the frames of a delivery."""
    contents = (body[:3], body[3:]) if len(body) > 3 else (body,) if body else ()
    header = ContentHeader(0, len(body), commands.Basic.Properties(message_id=f"m{tag}"))
    frames = (commands.Basic.Deliver("tag", tag, tag % 2 == 0, BUS, "requests"), header, *map(ContentBody, contents))
    return [pamqp.frame.marshal(frame, channel) for frame in frames]


BODIES = st.lists(st.binary(max_size=12), max_size=5)


@given(BODIES, BODIES, STREAM, PIECES, st.randoms(use_true_random=False))
def test_deliveries_are_taken_out_in_any_pieces(diverted, others, between, sizes, draw):
    taken = []
    sorter = Sorter(lambda _: None)
    sorter.divert(7, taken.append)
    ours = [frame for tag, body in enumerate(diverted, 1) for frame in delivered(tag, 7, body)]
    rest = [frame for tag, body in enumerate(others, 1) for frame in delivered(tag, 8, body)] + between
    queues = [list(reversed(ours)), list(reversed(rest))]
    sent = [draw.choice([queue for queue in queues if queue]).pop() for _ in range(len(ours) + len(rest))]
    passed = b"".join(map(sorter.sort, pieces(b"".join(sent), sizes)))
    assert passed == b"".join(rest)
    assert [(one.tag, one.redelivered, one.key, one.body) for one in taken] == [
        (tag, tag % 2 == 0, "requests", body) for tag, body in enumerate(diverted, 1)
    ]
    assert [read_properties(one.properties).id for one in taken] == [f"m{tag}" for tag in range(1, len(diverted) + 1)]


def test_other_methods_of_a_diverted_channel_pass():
    sorter = Sorter(lambda _: None)
    sorter.divert(7, lambda _: None)
    answer = pamqp.frame.marshal(commands.Basic.ConsumeOk("tag"), 7)
    assert sorter.sort(delivered(1, 7, b"x")[0] + answer) == answer


def test_a_channel_that_has_left_keeps_nothing_from_the_library():
    taken = []
    sorter = Sorter(lambda _: None)
    sorter.divert(7, taken.append)
    sorter.leave(7, len)
    first, *others = delivered(1, 7, b"x")
    assert sorter.sort(first) == b""
    sorter.leave(7, taken.append)
    assert sorter.sort(b"".join(others)) == b"".join(others)
    sorter.divert(7, taken.append)
    assert sorter.sort(b"".join(others)) == b"".join(others)
    assert taken == []


def test_what_is_no_frame_is_for_the_library():
    for odd in (b"AMQP\x00\x00\x09\x01", BEAT[:-1] + b"\0"):
        sorter = Sorter(lambda _: None)
        assert sorter.sort(BEAT) == BEAT
        assert b"".join((sorter.sort(odd[:7]), sorter.sort(odd[7:]), sorter.sort(b"more"))) == odd + b"more"


async def test_the_library_sees_signs_of_life_while_deliveries_come():
    sorter = Sorter(lambda _: None)
    sorter.divert(7, lambda _: None)
    reader = SortedReader(sorter)
    reader.feed_data(b"".join(delivered(1, 7, b"x")))
    reader.feed_data(b"".join(delivered(2, 7, b"x")))
    reader.feed_eof()
    assert await reader.read() == BEAT


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False
        self._wrote = asyncio.Event()

    def write(self, data) -> None:
        self.writes.append(bytes(data))
        self._wrote.set()

    async def has(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.writes) < number:
                self._wrote.clear()
                await self._wrote.wait()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def writer(wire: Wire) -> GatheringWriter:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    return GatheringWriter(wire, asyncio.StreamReaderProtocol(reader), reader, loop)


async def test_writes_of_one_turn_go_together():
    wire = Wire()
    out = writer(wire)
    for word in (b"a", b"b", b"c"):
        out.write(word)
    assert wire.writes == []
    await asyncio.sleep(0)
    assert wire.writes == [b"abc"]
    for word in (b"d", b"e"):
        out.write(word)
        await asyncio.sleep(0)
    await out.drain()
    assert b"".join(wire.writes) == b"abcde"


async def test_nothing_is_left_behind_by_a_drain_or_a_close():
    wire = Wire()
    out = writer(wire)
    out.write(b"a")
    await out.drain()
    assert wire.writes == [b"a"]
    out.write(b"b")
    out.close()
    assert (wire.writes, wire.closed) == ([b"a", b"b"], True)


async def test_much_does_not_wait_for_the_end_of_the_turn():
    wire = Wire()
    out = writer(wire)
    out.write(b"x" * 2**20)
    assert wire.writes == [b"x" * 2**20]
