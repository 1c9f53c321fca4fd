"""Something else than RabbitMQ listens: whatever it says, we come back until it is RabbitMQ again."""

import asyncio
import struct

import pamqp.frame
import pytest
from pamqp import commands

from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.link import ConnectionOptions

START = pamqp.frame.marshal(commands.Connection.Start(0, 9, {"capabilities": {}}, "PLAIN", "en_US"), 0)
UNBLOCKED = pamqp.frame.marshal(commands.Connection.Unblocked(), 0)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 0, len(payload)) + payload + b"\xce"


WORDS = {
    "nothing": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "another version": b"AMQP\0\1\0\0",
    "an unknown method": frame(1, b"\0\xff\0\xff"),
    "an empty method": frame(1, b""),
    "half a header": frame(2, b"xx"),
    "half a method": START + frame(1, struct.pack(">HH", 10, 30)),
    "no block that ends": START + UNBLOCKED,
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
async def test_whatever_answers_it_is_tried_again(words):
    calls = asyncio.Semaphore(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.release()
        await reader.read(8)
        writer.write(words)
        writer.close()

    async with asyncio.timeout(20), await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(ConnectionOptions(url=f"amqp://guest:guest@127.0.0.1:{port}/"))
        try:
            await connection.start(wait=True)
            for _ in range(4):
                await calls.acquire()
        finally:
            await connection.close()
