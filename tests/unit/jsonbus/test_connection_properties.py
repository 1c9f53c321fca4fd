"""Properties that the AMQP library cannot read are left out; everything else stays as it is."""

import struct
from datetime import UTC, datetime

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from crossdock.protocols.jsonbus.properties import readable
from crossdock.protocols.jsonbus.transport import ListeningReader

REPLY, ID, TIME, APP, HEADERS = 1 << 9, 1 << 7, 1 << 6, 1 << 3, 1 << 13
FAR = struct.pack(">Q", 2**63)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(*members: bytes) -> bytes:
    content = b"".join(members)
    return struct.pack(">I", len(content)) + content


def header(flags: int, *properties: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 5, flags) + b"".join(properties)


def read(content: bytes) -> Basic.Properties:
    found = ContentHeader()
    found.unmarshal(content)
    assert found.body_size == 5
    return found.properties


DEEP = b"\0\0\0\0"
for _ in range(2000):
    DEEP = struct.pack(">I", len(DEEP) + 1) + b"A" + DEEP

UNREADABLE = {
    "text in Latin-1": header(REPLY | ID | APP, short(b"answers"), short(b"\xe9"), short(b"caf\xe9")),
    "a time in the far future": header(REPLY | TIME, short(b"answers"), FAR),
    "a header's name in Latin-1": header(HEADERS | REPLY, table(short(b"caf\xe9"), b"t\1"), short(b"answers")),
    "a header with such a time": header(HEADERS | REPLY, table(short(b"at"), b"T", FAR), short(b"answers")),
    "lists in lists": header(HEADERS | REPLY, table(short(b"a"), b"A", DEEP), short(b"answers")),
    "a great many headers": header(
        HEADERS | REPLY, table(*[short(b"%d" % n) + b"V" for n in range(20000)]), short(b"answers")
    ),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_left_out_alone(content):
    found = readable(content)
    assert len(found) == len(content)
    properties = read(found)
    assert properties.reply_to == "answers"
    assert (properties.message_id, properties.timestamp, properties.app_id, properties.headers) == (None, None, None, None)


texts = st.text(max_size=30)
values = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | texts | st.lists(texts, max_size=3)
given_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": texts,
        "headers": st.dictionaries(texts, values, max_size=4),
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 255),
        "reply_to": texts,
        "timestamp": st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
        "app_id": texts,
    },
)


@given(given_properties)
def test_what_can_be_read_stays_as_it_is(properties):
    sent = pamqp.frame.marshal(ContentHeader(0, 5, Basic.Properties(**properties)), 1)[7:-1]
    assert readable(sent) is sent


async def test_frames_stay_whole():
    reader = ListeningReader(lambda _: None)
    for content in UNREADABLE.values():
        reader.feed_data(struct.pack(">BHI", 2, 1, len(content)) + content + b"\xce")
        reader.feed_data(pamqp.frame.marshal(ContentBody(b"hello"), 1))
        start = await reader.readexactly(1) + await reader.readexactly(6)  # as the library does
        frame = start + await reader.readexactly(len(content) + 1)
        size, channel, found = pamqp.frame.unmarshal(frame)
        assert (size, channel, found.properties.reply_to) == (len(content) + 8, 1, "answers")
        body = await reader.readexactly(1) + await reader.readexactly(6)
        assert pamqp.frame.unmarshal(body + await reader.readexactly(6))[2].value == b"hello"
