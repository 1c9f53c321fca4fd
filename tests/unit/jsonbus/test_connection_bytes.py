"""The bytes under the AMQP library: overhearing in any pieces, and writes that go together."""

import asyncio

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

from crossdock.protocols.jsonbus.transport import GatheringWriter, ListeningReader

BLOCKED = pamqp.frame.marshal(commands.Connection.Blocked("low on memory"), 0)
UNBLOCKED = pamqp.frame.marshal(commands.Connection.Unblocked(), 0)
CLOSE = pamqp.frame.marshal(commands.Connection.Close(320, "shutdown", 0, 0), 0)
DELIVERY = pamqp.frame.marshal(commands.Basic.Deliver("tag", 1, False, "jsonbus", "requests"), 1)
BEAT = pamqp.frame.marshal(Heartbeat(), 0)
DECOY = pamqp.frame.marshal(ContentBody(BLOCKED + UNBLOCKED), 1)
"""A body that looks like the frames we listen for."""
TOLD = {BLOCKED: "Connection.Blocked", UNBLOCKED: "Connection.Unblocked", CLOSE: "Connection.Close"}

frames = st.lists(st.sampled_from([BLOCKED, UNBLOCKED, CLOSE, DELIVERY, BEAT, DECOY]), max_size=30)


@given(frames, st.lists(st.integers(1, 40), min_size=1))
def test_what_is_said_about_the_connection_is_heard_in_any_pieces(sent, sizes):
    async def listen() -> None:
        heard = []
        reader = ListeningReader(heard.append)
        stream = b"".join(sent)
        place, turn = 0, 0
        while place < len(stream):
            size = sizes[turn % len(sizes)]
            reader.feed_data(stream[place : place + size])
            place, turn = place + size, turn + 1
        reader.feed_eof()
        assert await reader.read() == stream
        assert [frame.name for frame in heard] == [TOLD[frame] for frame in sent if frame in TOLD]

    asyncio.run(listen())


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
    assert wire.writes == [b"abc"]
    await wire.has(2)
    assert wire.writes == [b"abc", b"de"]


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
