"""Messages whose AMQP properties the library cannot read end no connection, and wear out no messages beside them."""

import struct

import aiormq
import pamqp.frame
import pytest
from aiormq.abc import ChannelFrame
from pamqp import commands

from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.topology import BUS, own_queue

from .test_connection import OWN, Inbox

FAR = struct.pack(">Q", 2**63)
LATIN = b"\4caf\xe9"
PROPERTIES = {
    "an app_id in Latin-1": (1 << 3, LATIN),
    "a message_id in Latin-1": (1 << 7, LATIN),
    "a time in the far future": (1 << 6, FAR),
    "a header's name in Latin-1": (1 << 13, struct.pack(">I", 7) + LATIN + b"t\1"),
    "a header with a time in the far future": (1 << 13, struct.pack(">I", 11) + b"\1aT" + FAR),
}


def frames(channel: int, body: bytes, flags: int, properties: bytes) -> bytes:
    """Return what publishes a message, with properties as bytes."""
    header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
    publish = pamqp.frame.marshal(commands.Basic.Publish(exchange=BUS, routing_key="requests"), channel)
    parts = [struct.pack(">BHI", kind, channel, len(part)) + part + b"\xce" for kind, part in ((2, header), (3, body))]
    return publish + b"".join(parts)


@pytest.mark.parametrize("name", PROPERTIES)
async def test_properties_of_a_peer_break_nothing(vhost, name):
    bus, inbox, connected = Connection(ConnectionOptions(url=vhost.url)), Inbox(), []
    bus.require(own_queue(OWN, "requests"))
    bus.consume(OWN, inbox, prefetch=10)
    await bus.start()
    bus.on_connect(lambda: connected.append(name))
    peer = await aiormq.connect(vhost.url)
    try:
        channel = await peer.channel(publisher_confirms=False)
        for body, flags, properties in ((b"odd", *PROPERTIES[name]), (b"good", 0, b"")):
            payload = frames(channel.number, body, flags, properties)
            await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False, drain_future=None))
        await inbox.count(2)
        assert inbox.bodies == [b"odd", b"good"]
        assert (connected, inbox.all[1].redelivered) == ([], False)
    finally:
        await peer.close()
        await bus.close()
