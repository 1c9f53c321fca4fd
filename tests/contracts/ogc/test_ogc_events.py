"""The log of a job as server-sent events."""

import asyncio
import contextlib
import json

import pytest


class Stream:
    """Reads events one at a time."""

    def __init__(self, response):
        self.lines = response.aiter_lines()

    async def next(self):
        event = {}
        async with asyncio.timeout(10):
            async for line in self.lines:
                if not line and event:
                    return event
                name, _, value = line.partition(":")
                if name:
                    event[name] = value.strip()
        return event or None

    async def rest(self):
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


@contextlib.asynccontextmanager
async def streaming(http, job, last=None, server=None):
    headers = {} if last is None else {"last-event-id": str(last)}
    url = f"{server.url if server else ''}/jobs/{job}/events"
    async with http.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def test_a_job_from_its_submit_to_its_end(http, hands, submit):
    job = await submit()
    async with streaming(http, job) as stream:
        assert (await stream.next())["event"] == "submitted"
        lease = await hands.take()
        assert (await stream.next())["event"] == "leased"
        await hands.progress(lease, 1, 2, "half\nway")
        event = await stream.next()
        assert event["event"] == "progress"
        data = json.loads(event["data"])
        assert data["data"] == {"done": 1.0, "total": 2.0, "message": "half\nway"}
        assert data["offset"] == int(event["id"]) == 2
        await hands.succeed(5, lease)
        assert (await stream.next())["event"] == "succeeded"
        assert await stream.next() is None


async def test_after_the_end_the_whole_log_is_there(http, hands, submit):
    job = await submit()
    await hands.fail("boom", "it broke")
    async with streaming(http, job) as stream:
        events = await stream.rest()
    assert [event["event"] for event in events] == ["submitted", "leased", "failed"]
    assert [int(event["id"]) for event in events] == [0, 1, 2]
    assert json.loads(events[2]["data"])["data"] == {"code": "boom", "message": "it broke"}


@pytest.mark.parametrize("last", [0, 1])
async def test_resuming(http, hands, submit, last):
    job = await submit()
    await hands.succeed(1)
    async with streaming(http, job, last) as stream:
        assert [int(event["id"]) for event in await stream.rest()] == list(range(last + 1, 3))


@pytest.mark.parametrize("last", [2, 3, 99_999_999])
async def test_nothing_after_the_end_stops_browsers_from_coming_back(http, hands, submit, last):
    job = await submit()
    await hands.succeed(1)
    response = await http.get(f"/jobs/{job}/events", headers={"last-event-id": str(last)})
    assert (response.status_code, response.content) == (204, b"")


async def test_resuming_in_the_middle_of_a_running_job(http, hands, submit):
    job = await submit()
    lease = await hands.take()
    for step in range(3):
        await hands.progress(lease, step, 3)
    async with streaming(http, job, 3) as stream:
        first = await stream.next()
        assert (first["id"], first["event"]) == ("4", "progress")
        await hands.succeed(1, lease)
        assert (await stream.next())["event"] == "succeeded"


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "9" * 400, "\u0661"])
async def test_ids_that_are_none(http, submit, last):
    job = await submit()
    response = await http.get(f"/jobs/{job}/events", headers={"last-event-id": last.encode()})
    assert response.status_code == 400
    assert "Last-Event-ID" in response.json()["detail"]


async def test_heartbeats_while_nothing_happens(serve, http, submit):
    server = await serve(heartbeat_seconds=0.02)
    job = await submit()
    async with streaming(http, job, 0, server) as stream, asyncio.timeout(5):
        assert [await anext(stream.lines) for _ in range(4)] == [": still here", ""] * 2


async def test_a_long_log_comes_in_order_and_whole(http, hands, submit):
    job = await submit()
    lease = await hands.take()
    for step in range(1200):
        await hands.progress(lease, step, 1200)
    await hands.succeed(1, lease)
    async with streaming(http, job) as stream:
        offsets = [int(event["id"]) for event in await stream.rest()]
    assert offsets == list(range(1203))


async def test_stopping_the_server_ends_the_stream(serve, http, submit):
    server = await serve()
    job = await submit()
    async with streaming(http, job, None, server) as stream:
        assert (await stream.next())["event"] == "submitted"
        await server.stop()
        assert await stream.next() is None
