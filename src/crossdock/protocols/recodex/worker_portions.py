"""What a worker says, in portions that fit into messages."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from crossdock.core.jobs import MemberOutcome, Outcome
from crossdock.core.requests import Note, Step
from crossdock.protocols.recodex.extension import PART

_MOST_TEXT: Final = 100_000
"""Characters of a message or a line: a frame that is too great for the broker would end the connection."""
_MOST_MEMBERS: Final = 1 << 20
"""Bytes of members' outcomes in one message."""


def _text(text: str) -> str:
    """Return text that can be sent: not too long, and without halves of characters, as they come from decoded bytes."""
    return text[:_MOST_TEXT].encode(errors="backslashreplace").decode()


def clipped(outcome: Outcome) -> Outcome:
    """Return an outcome whose texts can be sent."""
    return replace(outcome, code=_text(outcome.code), message=_text(outcome.message))


def clipped_note(note: Note) -> Note:
    """Return a note whose texts can be sent."""
    step, progress = note.step, note.progress
    return Note(
        progress=None if progress is None else replace(progress, message=_text(progress.message)),
        log=None if note.log is None else _text(note.log),
        step=None if step is None else Step(_text(step.phase), _text(step.task), _text(step.state)),
    )


async def cut(content: bytes) -> AsyncGenerator[bytes, None]:
    """Yield content in parts."""
    for start in range(0, len(content), PART):
        yield content[start : start + PART]


async def recut(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield parts that are as great as may be, of whatever comes."""
    gathered = bytearray()
    async for chunk in content:
        gathered += chunk
        while len(gathered) >= PART:
            yield bytes(gathered[:PART])
            del gathered[:PART]
    if gathered:
        yield bytes(gathered)


def portions(outcomes: Sequence[MemberOutcome]) -> Iterator[tuple[MemberOutcome, ...]]:
    """Yield outcomes in portions that fit into a message."""
    portion: list[MemberOutcome] = []
    size = 0
    for item in outcomes:
        length = len(msgspec.msgpack.encode(item))
        if portion and size + length > _MOST_MEMBERS:
            yield tuple(portion)
            portion, size = [], 0
        portion.append(item)
        size += length
    if portion:
        yield tuple(portion)
