"""What leaves a connection, and in how many pieces."""

import asyncio

import pytest

from crossdock.http.one_write import OneWrite


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data):
        assert not self.closed
        self.pieces.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
async def answer(wire):
    return OneWrite(wire, asyncio.get_running_loop(), wire.close)


async def test_head_and_body_leave_together(wire, answer):
    answer.write(b"head ")
    assert wire.pieces == []
    answer.write(b"body")
    assert wire.pieces == [b"head body"]
    answer.write(b"more")
    await asyncio.sleep(0)
    assert wire.pieces == [b"head body", b"more"]


async def test_a_head_alone_is_held_for_one_turn_of_the_loop_only(wire, answer):
    answer.write(b"head")
    await asyncio.sleep(0)
    assert wire.pieces == [b"head"]
    answer.write(b"event")
    assert wire.pieces == [b"head", b"event"]


async def test_a_large_body_is_not_copied(wire, answer):
    body = bytes(100_000)
    answer.write(b"head")
    answer.write(body)
    assert wire.pieces == [b"head", body]
    assert wire.pieces[1] is body


async def test_what_is_held_leaves_before_the_connection_is_closed(wire, answer):
    answer.write(b"head")
    answer.close()
    assert wire.pieces == [b"head"]
    assert answer.is_closing()
    await asyncio.sleep(0)
    assert wire.pieces == [b"head"]
