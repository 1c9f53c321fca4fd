"""Letters as frames: what the library reads back is what was to be sent."""

import pamqp.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.frames import publishing

short = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255)
values = st.one_of(st.text(), st.integers(-(2**31), 2**31 - 1), st.booleans(), st.none())
letters = st.builds(
    Letter,
    body=st.binary(max_size=12000),
    key=short,
    kind=short.filter(bool),
    id=short.filter(bool),
    correlation=short,
    exchange=short,
    headers=st.dictionaries(st.text(min_size=1, max_size=20), values, max_size=4),
)


def read(data: bytes) -> list:
    frames = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == 7
        assert size <= 4096
        frames.append(frame)
        data = data[size:]
    return frames


@given(letters)
@example(Letter(body=b"", key="k", kind="request", id="1"))
@example(Letter(body=b"x" * 4088, key="k", kind="request", id="1"))
@example(Letter(body=b"x" * 4089, key="k", kind="request", id="1"))
def test_the_library_reads_what_was_meant(letter):
    method, header, *bodies = read(publishing(letter, 7, 4096, 1_700_000_000.9))
    assert method.name == "Basic.Publish"
    assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == (
        letter.exchange,
        letter.key,
        True,
        False,
    )
    assert b"".join(body.value for body in bodies) == letter.body
    assert header.body_size == len(letter.body)
    sent = header.properties
    assert (sent.content_type, sent.content_encoding, sent.delivery_mode) == ("application/json", "utf-8", 2)
    assert (sent.message_id, sent.message_type, sent.app_id) == (letter.id, letter.kind, "crossdock")
    assert (sent.correlation_id or "") == letter.correlation
    assert (sent.headers or {}) == letter.headers
    assert int(sent.timestamp.timestamp()) == 1_700_000_000


def test_a_correlation_that_is_too_long_is_left_out():
    _, header, _ = read(publishing(Letter(body=b"1", key="k", kind="k", id="1", correlation="ä" * 128), 7, 4096, 0))
    assert header.properties.correlation_id is None


@pytest.mark.parametrize("name", ["key", "exchange", "id", "kind"])
def test_names_that_are_too_long_are_refused(name):
    words = {"key": "k", "exchange": "e", "id": "1", "kind": "request"} | {name: "ä" * 128}
    with pytest.raises(CrossdockError) as caught:
        publishing(Letter(body=b"1", **words), 7, 4096, 0)
    assert caught.value.code == Code.INVALID
