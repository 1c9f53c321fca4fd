"""The clients' door closes: what was read is answered, and nothing more is read."""

import asyncio

import zmq

from contracts.recodex.doors_scene import ANY_PORT, scene_at
from crossdock.protocols.recodex.hooks import Hooks
from crossdock.protocols.recodex.options import RecodexOptions

REST = ("meta.kind=echo", "", "http://a", "http://r")


async def test_a_door_that_closes_reads_nothing_more_when_what_it_read_is_settled(tmp_path):
    fetching, gate = asyncio.Event(), asyncio.Event()

    async def fetch(url: str) -> bytes:
        fetching.set()
        await gate.wait()
        return b"{}"

    options = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, no_worker="queue")
    async with scene_at(tmp_path, options, Hooks(fetch=fetch)) as scene:
        client = scene.client()
        await client.say("eval", "first", *REST)
        assert await client.hear() == ["ack"]
        await fetching.wait()
        closing = asyncio.create_task(scene.frontend.stop())
        await asyncio.sleep(0)
        await client.say("eval", "second", *REST)
        router = scene.frontend._router
        await scene.until(lambda: router._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN, "the second job")
        gate.set()
        assert await client.hear() == ["accept"]
        await closing
        assert await client.silent()
        assert len(await scene.jobs()) == 1
