"""The private RabbitMQ nodes that other tests stand on."""

import aiormq
import pytest

from rabbit import Rabbit


async def publish_and_get(url: str) -> bytes:
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        await channel.queue_declare("one")
        await channel.basic_publish(b"word", routing_key="one")
        return (await channel.basic_get("one", no_ack=True)).body


async def test_a_fresh_virtual_host_takes_messages(vhost):
    assert await publish_and_get(vhost.url) == b"word"


async def test_a_user_has_only_its_permissions(vhost):
    url = vhost.user("reader", "secret", configure="", write="", read=".*")
    with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
        await publish_and_get(url)


async def test_it_comes_back_after_a_kill_and_a_restart(vhost):
    for end in (vhost.rabbit.kill, vhost.rabbit.stop):
        end()
        with pytest.raises(aiormq.exceptions.AMQPConnectionError):
            await publish_and_get(vhost.url)
        vhost.rabbit.start()
        assert await publish_and_get(vhost.url) == b"word"


def test_two_nodes_live_side_by_side(rabbit, tmp_path):
    other = Rabbit(tmp_path / "other")
    try:
        other.start()
        rabbit.control("add_vhost", "only-here")
        assert "only-here" in rabbit.control("list_vhosts")
        assert "only-here" not in other.control("list_vhosts")
    finally:
        other.close()


def test_a_node_that_cannot_start_says_why(tmp_path):
    node = Rabbit(tmp_path / "wrong", {"no_such_setting": "1"})
    try:
        with pytest.raises(RuntimeError, match="no_such_setting"):
            node.start()
    finally:
        node.close()
