"""Requests and answers over a broker in memory that goes away, comes back and loses confirms."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.client import calls
from crossdock.protocols.jsonbus.client.conversation import Conversation
from crossdock.protocols.jsonbus.codec import decode, encode
from crossdock.protocols.jsonbus.messages import Notification, Request
from jsonbus_bus import MemoryBus

LIMIT = 10.0
QUEUE = "me_notify"


@pytest.fixture
def bus() -> MemoryBus:
    bus = MemoryBus()
    bus.declare("requests")
    return bus


@pytest.fixture
async def talk(bus: MemoryBus) -> AsyncIterator[Conversation]:
    conversation = Conversation(bus, "me", "requests", again=0.001)
    async with asyncio.timeout(LIMIT):
        yield conversation
        await conversation.close()


def request(identifier: str = "r1", subject: str = "resize") -> Request:
    return calls.new_request("me", subject, {"w": 1}, None, identifier)


def answer(bus: MemoryBus, identifier: str = "r1", message: str = "done") -> bool:
    return bus.send(encode(Notification(request_id=identifier, status="success", message=message)), QUEUE)


async def asked(bus: MemoryBus) -> Request:
    message = decode((await bus.get("requests")).body)
    assert isinstance(message, Request)
    return message


async def test_a_request_is_answered(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    assert await asked(bus) == request()
    assert answer(bus)
    assert (await task).message == "done"
    assert [how for how, _ in bus.settlements] == ["accepted"]


async def test_many_requests_are_answered_in_any_order(bus: MemoryBus, talk: Conversation):
    tasks = {str(n): asyncio.create_task(talk.ask(request(str(n)))) for n in range(50)}
    for _ in tasks:
        await asked(bus)
    for name in reversed(tasks):
        answer(bus, name, f"answer {name}")
    assert {name: (await task).message for name, task in tasks.items()} == {name: f"answer {name}" for name in tasks}


async def test_an_answer_that_comes_twice_counts_once(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    answer(bus, message="first")
    answer(bus, message="second")
    assert (await task).message == "first"
    answer(bus, message="third")
    again = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    answer(bus, message="asked again")
    assert (await again).message == "asked again"


async def test_garbage_ends_nothing(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    for body in (b"", b"garbage", b"[" * 1000, encode(request())):
        bus.send(body, QUEUE)
    answer(bus)
    assert (await task).message == "done"


async def test_what_was_open_is_asked_again_after_the_connection_was_lost(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    first = await bus.get("requests")
    bus.go()
    bus.come()
    second = await bus.get("requests")
    assert (first.body, first.id) == (second.body, second.id)
    answer(bus)
    assert (await task).message == "done"
    bus.come()
    assert bus.size("requests") == 0


async def test_a_request_waits_for_a_broker_that_is_away(bus: MemoryBus, talk: Conversation):
    bus.go()
    task = asyncio.create_task(talk.ask(request()))
    while bus.tries < 3:  # noqa: ASYNC110 - the broker in memory has no event for it
        await asyncio.sleep(0)
    bus.come()
    await asked(bus)
    answer(bus)
    assert (await task).message == "done"


async def test_a_lost_confirm_is_made_good_by_another_copy(bus: MemoryBus, talk: Conversation):
    bus.lose = 1
    task = asyncio.create_task(talk.ask(request()))
    first, second = await bus.get("requests"), await bus.get("requests")
    assert first.id == second.id
    answer(bus)
    assert (await task).message == "done"


async def test_an_answer_ends_the_wait_for_a_lost_confirm(bus: MemoryBus):
    talk = Conversation(bus, "me", "requests", again=3600)
    bus.lose = 1
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    answer(bus)
    async with asyncio.timeout(LIMIT):
        assert (await task).message == "done"


async def test_a_node_that_is_not_there(bus: MemoryBus, talk: Conversation):
    bus.vanish("requests")
    with pytest.raises(CrossdockError, match="nobody takes requests under the key 'requests'") as caught:
        await talk.ask(request())
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_node_that_has_gone_while_it_is_asked_again_may_come_back(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    bus.vanish("requests")
    bus.go()
    tries = bus.tries
    bus.come()
    while bus.tries < tries + 3:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    bus.declare("requests")
    await asked(bus)
    answer(bus)
    assert (await task).message == "done"


async def test_what_is_too_large_is_said(bus: MemoryBus, talk: Conversation):
    bus.largest = 10
    with pytest.raises(CrossdockError) as caught:
        await talk.ask(request())
    assert caught.value.code is Code.TOO_LARGE


async def test_the_same_request_twice_is_asked_once(bus: MemoryBus, talk: Conversation):
    tasks = [asyncio.create_task(talk.ask(request())) for _ in range(2)]
    await asked(bus)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    answer(bus)
    assert (await tasks[1]).message == "done"
    assert bus.size("requests") == 0


async def test_one_id_for_two_requests(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    with pytest.raises(CrossdockError) as caught:
        await talk.ask(request(subject="crop"))
    assert caught.value.code is Code.CONFLICT
    answer(bus)
    assert (await task).message == "done"


async def test_who_stops_waiting_leaves_nothing_behind(bus: MemoryBus, talk: Conversation):
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    task.cancel()
    await asyncio.wait([task])
    bus.go()
    bus.come()
    assert bus.size("requests") == 0


async def test_closing_ends_every_wait(bus: MemoryBus):
    talk = Conversation(bus, "me", "requests")
    task = asyncio.create_task(talk.ask(request()))
    await asked(bus)
    await talk.close()
    with pytest.raises(CrossdockError, match="the client was closed"):
        await task
