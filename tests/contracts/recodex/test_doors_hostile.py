"""Peers that send nonsense, too much, or all at once: never a crash, never a stuck loop, and jobs go on."""

import asyncio
import random
import socket
import threading

import pytest
import zmq

from contracts.recodex.doors_scene import ANY_PORT, Scene, scene_at
from crossdock.core.errors import CrossdockError
from crossdock.core.lifecycle import State
from crossdock.core.requests import Query
from crossdock.protocols.recodex.backend import Backend
from crossdock.protocols.recodex.options import RecodexOptions


@pytest.fixture
async def scene(tmp_path):
    async with scene_at(tmp_path) as opened:
        yield opened


async def every_job(scene: Scene):
    """Yield all jobs."""
    query: Query | None = Query(limit=1000)
    while query is not None:
        page = await scene.broker.intake.search(query)
        for job in page.jobs:
            yield job
        query = None if page.cursor is None else Query(limit=1000, cursor=page.cursor)


async def still_works(scene: Scene) -> None:
    """Check that a job still goes through both doors."""
    worker = await scene.ready_worker("sane")
    client = scene.client()
    assert await client.eval("sane", "hwgroup=sane") == ["accept"]
    done = ""
    while done != "sane":  # what nonsense there was may have made jobs too
        done = (await worker.job())[1]
        await worker.say("done", done, "OK", "")
    await worker.known()
    [job] = [job async for job in every_job(scene) if b'"job_id":"sane"' in job.payload]
    assert (await scene.broker.intake.wait(job.id, 20.0)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        (["eval"], "the job id is missing"),
        (["eval", "j"], "archive URL"),
        (["eval", "j", ""], "archive URL"),
        (["eval", "j", "", "a", "r", "more"], "archive URL"),
        (["eval", "", "", "a", "r"], "the job id is empty"),
        (["eval", b"\xff\xfe", "", "a", "r"], "UTF-8"),
        (["eval", "j" * 300, "", "a", "r"], "longer than 255 bytes"),
        (["eval", "j", *["a=b"] * 300, "", "a", "r"], "more than 256 headers"),
        (["eval", "j", "threads=abc", "", "a", "r"], "threads=abc is not a number"),
        (["eval", "j", "meta.kind=nonsense", "", "a", "r"], "no kind of job named 'nonsense'"),
        (["eval", "j", "meta.kind=echo", "", "a", "r"], "No worker available"),
    ],
)
async def test_a_malformed_eval_is_rejected_with_its_reason(scene: Scene, frames, text):
    await scene.ready_worker("sane", "threads=4")
    client = scene.client()
    await client.say(*frames)
    assert await client.hear() == ["ack"]
    verdict, reason = await client.hear()
    assert verdict == "reject"
    assert text in reason


async def test_commands_nobody_knows_are_counted_and_not_answered(scene: Scene):
    client, worker = scene.client(), scene.worker()
    for frames in ([""], ["", "eval"], ["EVAL", "j"], [b"\x00\x01"], ["init", "g"]):
        await client.say(*frames)
    for frames in ([""], ["", "ping"], ["init"], ["progress"], ["progress", "j"], ["done"], ["eval", "j"], [b"\xff" * 100]):
        await worker.say(*frames)
    await scene.until(lambda: scene.counters.values.total() >= 13, "the counting of nonsense")
    assert await client.silent(0.1)
    assert await worker.silent(0.1)
    await still_works(scene)


async def test_random_frames_on_both_doors_do_no_harm(scene: Scene):
    draw = random.Random(1)
    words = b"|eval|init|ping|done|progress|crossdock|freeze|unfreeze|get-runtime-stats|j|OK|0|7|=".split(b"|")
    words += [b"threads=x", b"env=c", b"current_job=j", b"crossdock=1", b"\xff\x00"]
    peers = [scene.client(), scene.worker(), scene.worker()]
    for _ in range(3000):
        frames = [draw.choice(words) for _ in range(draw.randrange(1, 9))]
        await draw.choice(peers).say(*frames)
    client = scene.client()
    await client.say("unfreeze")
    assert await client.hear() == ["ack"]
    await still_works(scene)


async def test_bytes_that_are_no_zeromq_are_survived(scene: Scene):
    draw = random.Random(2)
    for port in (scene.frontend.port, scene.backend.port):
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(draw.randbytes(draw.randrange(1, 300)))
            await writer.drain()
            writer.close()
    await still_works(scene)


async def test_a_frame_too_large_ends_only_its_connection(scene: Scene):
    client = scene.client()
    await client.say("eval", "j", "", "a" * 2_000_000, "r")
    assert await client.silent()
    assert await scene.jobs() == []
    await still_works(scene)


async def test_a_client_that_floods_without_reading_loses_no_verdict(tmp_path):
    """20,000 jobs sent before the first reply is read: the original broker loses hundreds of replies then."""
    patient = RecodexOptions(clients=ANY_PORT, workers=ANY_PORT, max_liveness=1000)
    async with scene_at(tmp_path, patient) as scene:
        await flooded(scene, 20_000)


async def flooded(scene: Scene, count: int) -> None:
    """Let a client send jobs without reading, and check that it can read every reply afterwards."""
    await scene.ready_worker("sane")

    def flood() -> list[list[bytes]]:
        context = zmq.Context()
        with context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.setsockopt(zmq.SNDHWM, 0)
            dealer.setsockopt(zmq.RCVHWM, 10)
            dealer.setsockopt(zmq.RCVTIMEO, 60_000)
            dealer.connect(f"tcp://127.0.0.1:{scene.frontend.port}")
            for number in range(count):
                dealer.send_multipart(
                    [b"eval", b"job%d" % number, b"hwgroup=sane|%d" % (number % 3), b"", b"http://a", b"http://r"]
                )
            sent.set()
            read.wait()
            return [dealer.recv_multipart() for _ in range(2 * count)]

    sent, read = threading.Event(), threading.Event()
    flooding = asyncio.get_running_loop().run_in_executor(None, flood)
    await scene.until(sent.is_set, "the end of the flood")
    other = scene.client()  # it still gets its turn
    assert await other.eval("other", "hwgroup=sane") == ["accept"]
    read.set()
    assert await flooding == [[b"ack"], [b"accept"]] * count
    assert len({job.id async for job in every_job(scene)}) == count + 1
    assert scene.frontend._router.dropped == 0


async def test_a_thousand_workers_may_come_at_once(scene: Scene):
    workers = [scene.worker() for _ in range(1000)]
    for number, worker in enumerate(workers):
        await worker.say("init", f"group{number % 20}", f"env=e{number}")
    client = scene.client()

    async def all_there() -> bool:
        await asyncio.gather(*(worker.say("ping") for worker in workers))
        return (await client.stats())["worker-count"] == "1000"

    await scene.until(all_there, "the last worker")
    for number in (0, 500, 999):
        assert await client.eval(f"job{number}", f"env=e{number}") == ["accept"]
        assert (await workers[number].job())[1] == f"job{number}"


async def test_half_open_handshakes_do_not_keep_others_out(scene: Scene):
    sockets = [socket.create_connection(("127.0.0.1", scene.backend.port)) for _ in range(100)]
    try:
        await still_works(scene)
    finally:
        for connection in sockets:
            connection.close()


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.1:0"])
async def test_a_door_to_the_network_has_to_be_asked_for(scene: Scene, address):
    with pytest.raises(CrossdockError, match="insecure = true"):
        Backend(RecodexOptions(workers=address), scene.broker)
    Backend(RecodexOptions(workers=address, insecure=True), scene.broker)


async def test_a_port_that_is_taken_is_said_so(scene: Scene):
    second = Backend(RecodexOptions(workers=f"tcp://127.0.0.1:{scene.backend.port}", clients=ANY_PORT), scene.broker)
    with pytest.raises(CrossdockError, match="cannot be listened at"):
        await second.start()
