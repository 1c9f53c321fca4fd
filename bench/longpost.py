"""LONGPOST round trips: start, then get until done; a result in the answer to start is a round trip too.

Both servers get the same load over kept connections, and two habits of quick_server would otherwise be measured in its
place. It listens with a backlog of 5, so connections that are opened at once wait for seconds until the kernel tries again:
ours are opened one by one, and each is used before the clock starts. It also sends head and body in two packets without
``TCP_NODELAY``, so the body waits 40 ms for an acknowledgement of the head: ours is sent at once.
"""

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from bench.child import Figures

_FIRST_PAUSE: Final = 0.005
_LAST_PAUSE: Final = 0.1
"""Seconds between two questions for a result. The protocol's own pauses are longer; without any we would measure polling."""


class _Connection(asyncio.Protocol):
    """One kept connection with one request at a time."""

    def __init__(self, kind: str) -> None:
        self._head = f"POST /longpost/{kind} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._data = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or EOFError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, _, body = self._data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if self._answer is not None and length and len(body) == int(length):
            self._data = b""
            self._answer.set_result(head[:16] + body)
        else:
            self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def call(self, message: dict[str, Any]) -> dict[str, Any]:
        self._answer = asyncio.get_running_loop().create_future()
        body = json.dumps(message, separators=(",", ":"))
        self._transport.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = await self._answer
        if b" 200 " not in answer[:16]:
            raise RuntimeError(f"the server answered {answer!r}")
        return json.loads(answer[16:])

    async def trip(self, payload: object) -> object:
        answer = await self.call({"action": "start", "payload": payload})
        pause = _FIRST_PAUSE
        while not answer["done"]:
            await asyncio.sleep(pause)
            pause = min(_LAST_PAUSE, 2 * pause)
            answer = await self.call({"action": "get", "token": answer["token"]})
        return json.loads(answer["result"])

    def close(self) -> None:
        self._transport.close()


async def _connect(port: int, kind: str) -> _Connection:
    """Return a connection that the server has accepted, not only its kernel."""
    _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(kind), "127.0.0.1", port)
    await connection.call({"action": "stop", "token": "0"})
    return connection


async def load(port: int, kind: str, concurrency: int, count: int) -> Figures:
    """Make ``count`` round trips with ``concurrency`` connections."""
    connections = [await _connect(port, kind) for _ in range(concurrency)]
    numbers = iter(range(count))
    times: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(_client(connection, numbers, times))
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return {"round_trips_per_s": count / seconds, "p50_ms": statistics.median(times) * 1e3}


async def _client(connection: _Connection, numbers: Iterator[int], times: list[float]) -> None:
    for number in numbers:
        began = time.perf_counter()
        payload = {"n": number}
        if await connection.trip(payload) != payload:
            raise RuntimeError("a wrong result")
        times.append(time.perf_counter() - began)


async def delays(port: int, count: int, pause: float) -> Figures:
    """Return the times from sending a start to the begin of the function, one at a time, with pauses."""
    connection = await _connect(port, "begun")
    waits: list[float] = []
    for _ in range(count):
        await asyncio.sleep(pause)
        sent = time.time()
        waits.append(float(str(await connection.trip(None))) - sent)
    connection.close()
    return quantiles(waits)


def quantiles(seconds: list[float]) -> Figures:
    """Return the median and the 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    return {"p50_ms": statistics.median(ordered) * 1e3, "p99_ms": ordered[int(0.99 * len(ordered))] * 1e3}
