"""Reading what has become of the members of an array, segment by segment, never the whole array at once."""

from collections.abc import AsyncIterator

from crossdock.core.bitmaps import positions
from crossdock.core.changes import SEGMENT, MemberResult, Segment
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.core.ports import Store
from crossdock.core.requests import MemberView


async def harvest(store: Store, job: Job, state: State | None = None, start: int = 0) -> AsyncIterator[MemberView]:
    """Stream the members from a position on that have ended, in order, optionally only those in one state."""
    count = 0 if job.array is None else job.array.count
    segments = {segment.number: segment for segment in (await store.array(job.id)).segments}
    numbers = range(-(-count // SEGMENT)) if job.terminal else sorted(segments)
    for number in (number for number in numbers if number >= start // SEGMENT):
        segment = segments.get(number)
        ended = {} if segment is None else _ended(segment)
        if job.terminal:  # what had not ended by then was cancelled with the array
            members = range(number * SEGMENT, min(count, (number + 1) * SEGMENT))
            ended = dict.fromkeys(members, State.CANCELLED) | ended
        # Also where nothing was told: each read gives other tasks a turn, and an array may have a thousand segments.
        told = await _told(store, job.id, number)
        for index in sorted(ended):
            if index >= start and state in {None, ended[index]}:
                yield _view(index, ended[index], told.get(index))


async def harvest_one(store: Store, job: Job, index: int) -> MemberView:
    """Return one member; one that has not ended is as far as its array."""
    image = await store.array(job.id)
    for segment in image.segments:
        if segment.number == index // SEGMENT:
            state = _ended(segment).get(index)
            if state is not None:
                told = await _told(store, job.id, segment.number)
                return _view(index, state, told.get(index))
    if job.terminal:
        return MemberView(index=index, state=State.CANCELLED)
    return MemberView(index=index, state=State.READY if job.state is State.LEASED else job.state)


async def succeeded(store: Store, array: int) -> set[int]:
    """Return the positions of the members that succeeded."""
    image = await store.array(array)
    return {index for segment in image.segments for index in positions(segment.succeeded, segment.number)}


def _ended(segment: Segment) -> dict[int, State]:
    bitmaps = {
        State.SUCCEEDED: segment.succeeded,
        State.FAILED: segment.failed,
        State.CANCELLED: segment.cancelled,
    }
    return {index: state for state, bitmap in bitmaps.items() for index in positions(bitmap, segment.number)}


async def _told(store: Store, array: int, segment: int) -> dict[int, MemberResult]:
    return {result.index: result for block in await store.blocks(array, segment) for result in block.results}


def _view(index: int, state: State, told: MemberResult | None) -> MemberView:
    if told is None:
        return MemberView(index=index, state=state, attempt=1, result=b"null" if state is State.SUCCEEDED else None)
    return MemberView(
        index=index, state=state, attempt=told.attempt, result=told.result, code=told.code, message=told.message
    )
