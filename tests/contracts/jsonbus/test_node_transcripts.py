"""Conversations of a node with its clients, as transcripts: what is said, and everything that is answered, in order.

A line ``c: r1 {"n": 1}`` is the request r1 of the client c with these params. ``!`` is a worker that ends the oldest job,
with ``ok`` and a result or with the kind of failure and its code. ``kill`` ends the node's process and starts the next one,
``+ d`` and ``- d`` are the client d's queue that comes and goes, ``wait 30`` lets 30 seconds pass. Lines that begin with
``>`` are answers: whose, of which request, how it ended, and the data. ``dead:`` is a dead letter.
"""

import json
from collections.abc import AsyncIterator

import pytest

from brokers import House
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from jsonbus_node import DEAD, Node, request

TRANSCRIPTS = {
    "asked and answered": """
        c: r1 {"n": 1}
        ! ok 7
        > c r1 success 7
    """,
    "asked again, answered again": """
        c: r1 {"n": 1}
        ! ok 7
        > c r1 success 7
        c: r1 {"n": 1}
        > c r1 success 7
        kill
        c: r1 {"n": 1}
        > c r1 success 7
    """,
    "asked three times, done and answered once": """
        c: r1 {}
        c: r1 {}
        kill
        c: r1 {}
        ! ok 7
        > c r1 success 7
    """,
    "an accident is tried again when it is asked again, a failure is not": """
        c: r1 {}
        ! errored boom
        > c r1 fail {"code": "boom"}
        c: r1 {}
        ! failed wrong
        > c r1 fail {"code": "wrong"}
        c: r1 {}
        > c r1 fail {"code": "wrong"}
    """,
    "one id, two requests": """
        c: r1 {"n": 1}
        c: r1 {"n": 2}
        > c r1 fail {"code": "conflict"}
        ! ok 7
        > c r1 success 7
    """,
    "two clients, one id": """
        + d
        c: r1 {"n": 1}
        d: r1 {"n": 2}
        ! ok 1
        > c r1 success 1
        ! ok 2
        > d r1 success 2
    """,
    "two clients that share an answer": """
        + d
        c: mine {"cacheKey": "k"}
        d: yours {"cacheKey": "k"}
        d: yours {"cacheKey": "k"}
        kill
        d: yours {"cacheKey": "k"}
        ! ok 7
        > c mine success 7
        > d yours success 7
        d: yours {"cacheKey": "k"}
        > d yours success 7
    """,
    "sharing takes the same key and the same question": """
        + d
        c: mine {"cacheKey": "k", "n": 1}
        d: yours {"cacheKey": "k", "n": 2}
        ! ok 1
        > c mine success 1
        ! ok 2
        > d yours success 2
    """,
    "a client that goes and comes back": """
        - c
        c: r1 {}
        ! ok 7
        wait 1
        wait 5
        + c
        wait 29
        wait 1
        > c r1 success 7
        wait 9999
    """,
    "a client that comes back and asks": """
        - c
        c: r1 {}
        ! ok 7
        wait 1
        wait 5
        + c
        c: r1 {}
        > c r1 success 7
        wait 9999
    """,
    "a failure that was never heard is not told beside the success after it": """
        - c
        c: r1 {}
        ! errored boom
        wait 1
        kill
        + c
        c: r1 {}
        ! ok 7
        > c r1 success 7
        wait 9999
    """,
    "nobody to answer": """
        ../etc: r1 {}
        dead: nobody can be answered
        c: r1 {}
        ! ok 7
        > c r1 success 7
    """,
}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    house = House({"work": Kind(name="work", policy=Policy(attempts=1))})
    await house.open()
    await house.attach(slots=10)
    node = Node(house)
    await node.open()
    yield node
    await node.close()
    await house.crash()


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS.keys())
async def test_transcript(node: Node, transcript: str) -> None:
    lines = [line.strip() for line in transcript.strip().splitlines()]
    said: list[str] = []
    for line in lines:
        if not line.startswith((">", "dead:")):
            said += await heard(node)
            said.append(line)
            await say(node, line)
    assert [*said, *await heard(node)] == lines


async def say(node: Node, line: str) -> None:
    """Do what a line says."""
    word, _, rest = line.partition(" ")
    match word:
        case "!":
            await end(node, *rest.split(" ", 1))
        case "kill":
            await node.kill()
        case "wait":
            await node.advance(float(rest))
            await node.house.attach(slots=10)
        case "+":
            node.bus.declare(f"{rest}_notify")
        case "-":
            node.bus.vanish(f"{rest}_notify")
        case _:
            id_, _, params = rest.partition(" ")
            node.send(request(id=id_, client=word[:-1], params=json.loads(params)))


async def end(node: Node, how: str, what: str) -> None:
    """End the oldest job."""
    if how == "ok":
        await node.work(Outcome(kind=OutcomeKind.SUCCEEDED, result=what.encode()))
    else:
        await node.work(Outcome(kind=OutcomeKind(how), code=what, message="it did not go well"))


async def heard(node: Node) -> list[str]:
    """Return everything that was answered since."""
    for _ in range(3):
        await node.settle()
    lines = []
    for name in sorted(node.bus.queues):
        while name.endswith("_notify") and node.bus.size(name):
            message = await node.answer(name)
            data = json.dumps(message.get("data"))
            lines.append(f"> {name.removesuffix('_notify')} {message['requestId']} {message['status']} {data}")
    while node.bus.size(DEAD):
        reason, _ = await node.dead()
        lines.append(f"dead: {reason.partition(':')[0]}")
    return lines
