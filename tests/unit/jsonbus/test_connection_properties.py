"""Properties that cannot be read count as missing; all others are read."""

import struct
from datetime import UTC, datetime

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from crossdock.protocols.jsonbus.properties import Properties, read_properties

REPLY, ID, TIME, APP, HEADERS = 1 << 9, 1 << 7, 1 << 6, 1 << 3, 1 << 13
FAR = struct.pack(">Q", 2**63)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def table(*members: bytes) -> bytes:
    content = b"".join(members)
    return struct.pack(">I", len(content)) + content


def header(flags: int, *properties: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 5, flags) + b"".join(properties)


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
    assert read_properties(content) == Properties(reply_to="answers")


texts = st.text(max_size=30)
values = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | texts | st.lists(texts, max_size=3)
given_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": texts,
        "headers": st.dictionaries(texts, values, max_size=4),
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 255),
        "correlation_id": texts,
        "reply_to": texts,
        "expiration": texts,
        "message_id": texts,
        "timestamp": st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
        "app_id": texts,
    },
)


@given(given_properties)
def test_what_can_be_read_is_read(properties):
    sent = pamqp.frame.marshal(ContentHeader(0, 5, Basic.Properties(**properties)), 1)[7:-1]
    assert read_properties(sent) == Properties(
        headers=properties.get("headers", {}),
        correlation=properties.get("correlation_id", ""),
        reply_to=properties.get("reply_to", ""),
        id=properties.get("message_id", ""),
    )


@given(st.binary(max_size=40), st.integers(0, 2**16 - 1))
def test_any_bytes_are_properties_or_none(content, flags):
    assert isinstance(read_properties(header(flags, content)), Properties)
