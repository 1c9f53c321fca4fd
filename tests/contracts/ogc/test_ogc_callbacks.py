"""Subscriber callbacks against a real receiver."""

import asyncio
import contextlib
import json

import pytest

from crossdock.http.egress import Egress
from crossdock.protocols.ogc.callbacks import Callbacks, Patience

QUICK = Patience(attempts=4, first=0.01, timeout=5)


@pytest.fixture
async def deliver(broker):
    """Start delivering."""
    tasks = []

    def start(egress=None):
        callbacks = Callbacks(broker, egress or Egress(private=True), "http://example.org", QUICK)
        tasks.append(asyncio.create_task(callbacks.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def subscriber(receiver):
    return {"successUri": f"{receiver.url}/good", "failedUri": f"{receiver.url}/bad?x=1"}


async def told(receiver):
    """Return what the receiver is told next."""
    received = await receiver.next()
    return received.path, received.headers, json.loads(received.body)


async def outbox_is_empty(broker):
    """Wait until nothing is owed, however often the store has to be asked."""
    async with asyncio.timeout(10):
        while await broker._desk.store.notifications(0, 10):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)


async def test_results_go_to_the_success_uri(broker, receiver, deliver, hands, submit):
    deliver()
    job = await submit(subscriber=subscriber(receiver))
    await hands.succeed({"x": 1})
    path, headers, body = await told(receiver)
    assert (path, body) == ("/good", {"result": {"x": 1}})
    assert headers["content-type"] == "application/json"
    assert headers["crossdock-event"] == "succeeded"
    assert int(headers["crossdock-notification"]) > 0
    assert headers["host"] == receiver.url.removeprefix("http://")
    assert job
    await outbox_is_empty(broker)


async def test_the_status_goes_to_the_failed_uri(receiver, deliver, http, hands, submit):
    deliver()
    first = await submit(subscriber=subscriber(receiver))
    await hands.fail("boom", "it broke")
    path, headers, body = await told(receiver)
    assert (path, body["jobID"], body["status"], body["message"]) == ("/bad?x=1", first, "failed", "it broke")
    assert body["links"][0]["href"] == f"http://example.org/jobs/{first}"
    assert headers["crossdock-event"] == "failed"
    second = await submit(subscriber=subscriber(receiver))
    await http.delete(f"/jobs/{second}")
    _, _, body = await told(receiver)
    assert (body["jobID"], body["status"]) == (second, "dismissed")


async def test_who_did_not_subscribe_to_it_hears_nothing(broker, receiver, deliver, hands, submit):
    deliver()
    await submit(subscriber={"failedUri": f"{receiver.url}/bad"})
    await hands.succeed(1)
    await submit(subscriber={"successUri": f"{receiver.url}/good"})
    await hands.succeed(2)
    assert (await told(receiver))[2] == {"result": 2}
    await outbox_is_empty(broker)
    assert receiver.requests.empty()


async def test_the_status_goes_to_the_in_progress_uri_when_it_begins(receiver, deliver, hands, submit):
    deliver()
    job = await submit(subscriber={"inProgressUri": f"{receiver.url}/begun"})
    lease = await hands.take()
    path, headers, body = await told(receiver)
    assert (path, body["jobID"], body["status"]) == ("/begun", job, "running")
    assert headers["crossdock-event"] == "leased"
    await hands.succeed(1, lease)
    assert receiver.requests.empty()


async def test_a_receiver_that_fails_first_is_asked_again_with_the_same_id(broker, receiver, deliver, hands, submit):
    receiver.answers = {"/good": [500, 302, 404]}
    deliver()
    await submit(subscriber=subscriber(receiver))
    await hands.succeed(1)
    attempts = [await receiver.next() for _ in range(4)]
    assert len({each.headers["crossdock-notification"] for each in attempts}) == 1
    assert {each.path for each in attempts} == {"/good"}
    await outbox_is_empty(broker)


async def test_trying_ends(broker, receiver, deliver, hands, submit):
    receiver.answers = {"/good": [500] * 10}
    deliver()
    await submit(subscriber=subscriber(receiver))
    await hands.succeed(1)
    for _ in range(QUICK.attempts):
        await receiver.next()
    await outbox_is_empty(broker)
    assert receiver.requests.empty()


async def test_a_receiver_that_hangs_delays_nobody_else(receivers, deliver, hands, submit):
    slow, quick = await receivers(), await receivers()
    slow.hang = {"/good": asyncio.Event()}
    deliver()
    for _ in range(10):
        await submit(subscriber=subscriber(slow))
        await hands.succeed(1)
    await submit(subscriber=subscriber(quick))
    await hands.succeed(2)
    assert (await told(quick))[2] == {"result": 2}
    slow.hang["/good"].set()
    for _ in range(10):
        await slow.next()


async def test_what_was_owed_before_is_delivered_after_a_restart_of_the_deliverer(receiver, deliver, hands, submit):
    await submit(subscriber=subscriber(receiver))
    await hands.succeed(1)
    assert receiver.requests.empty()
    deliver()
    assert (await told(receiver))[2] == {"result": 1}


async def test_large_results_are_streamed_to_it(receiver, deliver, hands, submit):
    deliver()
    await submit(subscriber=subscriber(receiver))
    await hands.succeed("x" * 1_000_000)
    assert (await told(receiver))[2] == {"result": "x" * 1_000_000}


async def test_private_addresses_are_not_asked(broker, receiver, deliver, hands, submit):
    deliver(Egress())
    await submit(subscriber=subscriber(receiver))
    await hands.succeed(1)
    await outbox_is_empty(broker)
    assert receiver.requests.empty()


async def test_nobody_there(broker, deliver, hands, submit):
    deliver()
    await submit(subscriber={"successUri": "http://127.0.0.1:1/"})
    await hands.succeed(1)
    await outbox_is_empty(broker)
