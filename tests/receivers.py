"""HTTP servers that keep what they are sent: what notifications and results are sent to in tests."""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

import pytest


class Received(NamedTuple):
    """One request; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """One server.

    ``answers`` are the statuses it gives first, by path; then it gives 200. A path in ``hang`` is answered only once its
    event is set. ``most`` is how many requests were under way at the same time, at most.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, list[int]] = {}
        self.hang: dict[str, asyncio.Event] = {}
        self.requests: asyncio.Queue[Received] = asyncio.Queue()
        self.most = 0
        self._under_way = 0

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                received = await _receive(reader)
                self._under_way += 1
                self.most = max(self.most, self._under_way)
                await self.requests.put(received)
                if received.path in self.hang:
                    await self.hang[received.path].wait()
                self._under_way -= 1
                answers = self.answers.get(received.path)
                status = answers.pop(0) if answers else 200
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 4\r\nlocation: /elsewhere\r\n\r\nbody" % status)
        writer.close()

    async def next(self) -> Received:
        """Return the next request, waiting for it."""
        return await asyncio.wait_for(self.requests.get(), 30)

    async def path(self) -> str:
        """Return the path of the next request."""
        return (await self.next()).path


async def _receive(reader: StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, path, _ = head.split(" ", 2)
    pairs = [line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line]
    headers = {name.lower(): value for name, value in pairs}
    if headers.get("transfer-encoding") != "chunked":
        return Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return Received(method, path, headers, body)


@pytest.fixture
async def receivers() -> AsyncIterator[Callable[[], Awaitable[Receiver]]]:
    """Start receivers."""
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> Receiver:
            receiver = Receiver()
            server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return receiver

        yield start


@pytest.fixture
async def receiver(receivers: Callable[[], Awaitable[Receiver]]) -> Receiver:
    """One receiver."""
    return await receivers()
