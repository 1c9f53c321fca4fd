"""Slow and hostile senders in real time: they are hung up on, and nobody else notices."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from crossdock.http.body import read_json
from crossdock.http.handlers import EXCEPTION_HANDLERS
from crossdock.http.server import Server, ServerOptions
from crossdock.http.shield import Shield

pytestmark = pytest.mark.acceptance

HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"


async def echo(request):
    return JSONResponse((await read_json(request))[1])


@pytest.fixture
async def server():
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])], exception_handlers=dict(EXCEPTION_HANDLERS))
    server = Server(Shield(app), ServerOptions(port=0, stop_seconds=1))
    await server.start()
    yield server
    await server.stop()


async def drip(port, opening):
    """Send a byte every half second after ``opening``; return the answer and the seconds it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(opening)
    started = time.monotonic()
    answer = asyncio.create_task(reader.read())
    while not answer.done():
        with contextlib.suppress(ConnectionError):
            writer.write(b"x")
        await asyncio.wait((answer,), timeout=0.5)
    writer.close()
    return await answer, time.monotonic() - started


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def good_client(url, done):
    """Send small requests until told to end; return their times."""
    times = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        while not done.is_set():
            started = time.monotonic()
            assert (await client.post("/echo", json=[1])).json() == [1]
            times.append(time.monotonic() - started)
            await asyncio.sleep(0.05)
    return sorted(times)


async def test_five_hundred_slow_headers_and_two_hundred_slow_bodies(server):
    before = resident()
    done = asyncio.Event()
    good = asyncio.create_task(good_client(server.url, done))
    slow = [drip(server.port, b"POST /echo HTTP/1.1\r\nx-") for _ in range(500)]
    slow += [drip(server.port, HEAD) for _ in range(200)]
    ended = await asyncio.wait_for(asyncio.gather(*slow), 60)
    done.set()
    times = await good
    for answer, seconds in ended:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert seconds < 20
    assert len(times) > 20
    assert times[len(times) // 2] < 0.5
    assert resident() - before < 64 * 2**20
