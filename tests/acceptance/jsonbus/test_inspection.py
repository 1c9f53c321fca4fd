"""What `crossdock doctor` finds on a RabbitMQ, and that the policies it prints do what they say."""

import shlex

import aiormq
import pytest
from rabbit_node import free_port

from acceptance.jsonbus.test_connection import eventually, letter, raw
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.inspection import inspect
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.policies import policies
from crossdock.protocols.jsonbus.topology import BUS, foreign_queue, own_queue

OWN = "svc.node.requests"
PARTS = (*own_queue(OWN, "requests"), *foreign_queue("requests"))


async def found(url: str) -> dict[str, tuple[bool, str]]:
    return {finding.name: (finding.ok, finding.text) for finding in await inspect(ConnectionOptions(url=url), PARTS)}


async def put_up(vhost) -> Connection:
    connection = Connection(ConnectionOptions(url=vhost.url))
    connection.require(PARTS)
    await connection.start()
    return connection


async def test_an_empty_broker_stays_empty(vhost):
    findings = await found(vhost.url)
    ok, text = findings.pop("connection")
    assert ok
    assert "RabbitMQ" in text
    assert set(findings) == {"exchange jsonbus", "exchange svc.dlx", f"queue {OWN}", f"queue {OWN}.dead", "queue requests"}
    assert all(ok and "not there yet" in text for ok, text in findings.values())
    assert vhost.queues() == {}


async def test_what_is_there_and_what_does_not_fit(vhost):
    connection = await put_up(vhost)
    await connection.publish(letter(1))
    await raw(vhost, lambda channel: channel.queue_delete(f"{OWN}.dead"))
    await raw(vhost, lambda channel: channel.queue_declare(f"{OWN}.dead", durable=True))
    await raw(vhost, lambda channel: channel.queue_delete(OWN))
    findings = await found(vhost.url)
    assert findings["exchange jsonbus"][0]
    assert findings["queue requests"] == (True, "there, as it should be; 1 messages wait")
    assert not findings[f"queue {OWN}.dead"][0]
    assert "x-queue-type" in findings[f"queue {OWN}.dead"][1]
    assert findings[f"queue {OWN}"][0]
    assert OWN not in vhost.queues()
    await connection.close()


async def test_dead_letters_and_missing_permissions_are_told(vhost):
    connection = await put_up(vhost)
    await raw(vhost, lambda channel: channel.basic_publish(b"poison", exchange="svc.dlx", routing_key=OWN))
    findings = await found(vhost.url)
    assert findings[f"queue {OWN}.dead"][0] is False
    assert "1 messages could not be handled" in findings[f"queue {OWN}.dead"][1]
    user = vhost.user("narrow", "secret", configure="^svc.*", write=".*", read=".*")
    findings = await found(user)
    assert findings[f"queue {OWN}"][0]
    assert not findings["exchange jsonbus"][0]
    assert "set_permissions" in findings["exchange jsonbus"][1]
    await connection.close()


async def test_a_broker_that_is_not_there():
    port = free_port()
    (finding,) = await inspect(ConnectionOptions(url=f"amqp://guest:guest@127.0.0.1:{port}/"), PARTS)
    assert (finding.name, finding.ok) == ("connection", False)
    assert "nothing listens" in finding.text


async def test_the_policies_keep_the_copy_empty_and_change_nothing_else(vhost):
    connection = await put_up(vhost)
    commands = [line for line in policies(NodeOptions(node="node"), vhost=vhost.name) if not line.startswith("#")]
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "rabbitmqctl"
        vhost.rabbit.control(*arguments)
    listed = vhost.rabbit.control("list_policies", "-p", vhost.name)
    assert [name in listed for name in ("node-php-copies", "node-own", "node-dead")] == [True] * 3
    await eventually(lambda: vhost.queues("policy")["requests"] == ["node-php-copies"], "the policy is in force")
    for number in range(5):
        await connection.publish(letter(number))
    await eventually(
        lambda: vhost.queues("messages") == {OWN: ["5"], "requests": ["0"], f"{OWN}.dead": ["0"]}, "only ours keeps them"
    )
    assert vhost.queues("policy")[f"{OWN}.dead"] == ["node-dead"]
    await connection.close()
    connection = await put_up(vhost)
    await connection.close()


async def test_php_can_still_declare_its_own_under_the_policies(vhost):
    connection = await put_up(vhost)
    for line in policies(NodeOptions(node="node"), vhost=vhost.name):
        if not line.startswith("#"):
            vhost.rabbit.control(*shlex.split(line)[1:])

    async def declare(channel):
        await channel.exchange_declare(BUS, durable=True, auto_delete=True)
        await channel.queue_declare("requests", durable=True, auto_delete=True)
        with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed):
            await channel.queue_declare("requests", durable=True)

    await raw(vhost, declare)
    await connection.close()
