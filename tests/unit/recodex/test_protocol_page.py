"""Every message on the protocol's page, read and written by the codec."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crossdock.protocols.recodex import codec
from crossdock.protocols.recodex.extension import Hello, decode_hello
from crossdock.protocols.recodex.messages import Init, Malformed, Unknown

PAGE = (Path(__file__).parents[3] / "docs/protocols/recodex.md").read_text()
SIDES: dict[str, tuple[Callable, Callable]] = {
    "client": (codec.decode_from_client, codec.encode_from_client),
    "to client": (codec.decode_to_client, codec.encode_to_client),
    "worker": (codec.decode_from_worker, codec.encode_from_worker),
    "to worker": (codec.decode_to_worker, codec.encode_to_worker),
}
EXAMPLES = [
    (side, line)
    for side, block in re.findall(r"```text ([a-z ]+)\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def frames(line: str) -> list[bytes]:
    return [b"" if text == "(empty)" else text.encode() for text in line.split(" | ")]


def test_there_are_examples_of_all_four_sides():
    assert {side for side, _ in EXAMPLES} == set(SIDES)


@pytest.mark.parametrize(("side", "line"), EXAMPLES)
def test_a_message_on_the_page_is_understood_and_written_like_that(side, line):
    decode, encode = SIDES[side]
    message = decode(frames(line))
    assert not isinstance(message, Malformed | Unknown)
    again = encode(message)
    if line != "done | student_5377 | ERR":  # the old form is only read
        assert again == frames(line)


def test_the_introduction_of_our_worker_is_understood():
    [line] = [line for side, line in EXAMPLES if "crossdock={" in line]
    message = codec.decode_from_worker(frames(line))
    assert isinstance(message, Init)
    assert decode_hello(message.about("crossdock") or "") == Hello(worker="host-4711", slots=4, kinds=("echo", "evaluation"))
