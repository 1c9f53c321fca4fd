"""The wire between parent and child."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.jobs import OutcomeKind, Progress
from crossdock.runners.function.frames import (
    Assembler,
    Broken,
    Cancel,
    Ended,
    Piece,
    Ready,
    Run,
    Stored,
    Told,
    from_child,
    from_parent,
    head,
    split,
)

DOWN = [
    Run(1, "kind", "job", 2, (3, None), 4, (5, 6)),
    Run(1, "kind", "job", 2, ()),
    Cancel(7),
    Stored("digest", 3),
    Stored("", 0, "unavailable", "the disk is full"),
]
UP = [
    Ready(),
    Broken("why"),
    Told(progress=Progress(1, 2, "x")),
    Told(log="line"),
    Piece("text/plain", last=True),
    Ended(OutcomeKind.ERRORED, 3, "code", "message", 1.5),
]


@given(st.lists(st.tuples(st.sampled_from(DOWN + UP), st.binary(max_size=50))), st.data())
def test_any_split_gives_the_same_frames(messages: list[tuple[object, bytes]], data: st.DataObject) -> None:
    stream = b"".join(head(message, len(body)) + body for message, body in messages)  # pyright: ignore[reportArgumentType]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assembler = Assembler()
    frames = [
        frame
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in assembler.feed(stream[start:end])
    ]
    decoded = [
        ((from_parent if any(m is d for d in DOWN) else from_child).decode(text), body)
        for (text, body), (m, _) in zip(frames, messages, strict=True)
    ]
    assert decoded == messages


@pytest.mark.parametrize("message", UP)
def test_the_two_directions_do_not_mix(message: object) -> None:
    text = head(message, 0)[12:]  # pyright: ignore[reportArgumentType]
    with pytest.raises(Exception, match="Invalid value"):
        from_parent.decode(text)


def test_what_is_no_frame_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ValueError, match="no frame"):
        Assembler().feed(b"what is this good for?")


def test_a_body_is_cut_by_sizes() -> None:
    assert split(b"aabbbc", [2, None, 3]) == ([b"aa", None, b"bbb"], b"c")
