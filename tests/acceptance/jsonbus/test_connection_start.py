"""What a start is told when RabbitMQ does not want us, or is not there: what it is, and what to do."""

import asyncio
import re
import subprocess

import msgspec
import pytest
from rabbit_node import Vhost, free_port

from acceptance.jsonbus.test_connection import SECONDS, Inbox, eventually, insist, letter, raw
from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.connection_session import State
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.topology import BUS, foreign_queue, own_queue
from rabbit import Rabbit

PARTS = (*own_queue("svc.node.requests", "requests"), *foreign_queue("requests"))
SECRET = "correct-horse"


async def refused(url: str, *, parts=PARTS, consume: str = "", **options) -> CrossdockError:
    connection = Connection(ConnectionOptions(url=url, **options))
    connection.require(parts)
    if consume:
        connection.consume(consume, Inbox(), prefetch=1)
    with pytest.raises(CrossdockError) as caught:
        await connection.start()
    assert connection.states == (State.CLOSING, State.CLOSING)
    return caught.value


async def test_a_wrong_password(vhost, capsys, caplog):
    vhost.user("alice", SECRET)
    error = await refused(vhost.url_of("alice", "wrong-" + SECRET))
    assert error.code == Code.UNAUTHORIZED
    assert "'alice'" in error.message
    assert "rabbitmqctl change_password alice" in error.message
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err + caplog.text + error.message


async def test_a_virtual_host_that_is_not_there(vhost):
    error = await refused(vhost.rabbit.url + "no-such")
    assert error.code == Code.NOT_FOUND
    assert "rabbitmqctl add_vhost no-such" in error.message


async def test_a_user_without_permissions_in_the_virtual_host(vhost):
    vhost.rabbit.control("add_user", "bob", SECRET)
    error = await refused(vhost.url_of("bob", SECRET))
    assert error.code == Code.UNAUTHORIZED
    assert f"rabbitmqctl set_permissions -p {vhost.name} bob" in error.message


@pytest.mark.parametrize(
    ("configure", "write", "read", "needs"),
    [
        ("^jsonbus$", ".*", ".*", "configure on the exchange svc.dlx"),
        (".*", "^svc.*", ".*", "write on the queue requests"),
        (".*", ".*", "^svc.*", "read on the exchange jsonbus"),
    ],
)
async def test_a_missing_permission_and_the_command_that_mends_it(vhost, configure, write, read, needs):
    user = f"carol{abs(hash((configure, write, read)))}"
    url = vhost.user(user, SECRET, configure=configure, write=write, read=read)
    error = await refused(url)
    assert error.code == Code.UNAUTHORIZED
    assert needs in error.message
    (command,) = re.findall(r"rabbitmqctl (set_permissions -p \S+ \S+) '(.*)' '(.*)' '(.*)'", error.message)
    vhost.rabbit.control(*command[0].split(), *command[1:])
    connection, inbox = Connection(ConnectionOptions(url=url)), Inbox()
    connection.require(PARTS)
    connection.consume("svc.node.requests", inbox, prefetch=1)
    await connection.start()
    await connection.publish(letter(1))
    await inbox.count(1)
    await connection.close()


async def test_a_queue_that_does_not_fit(vhost):
    await raw(vhost, lambda channel: channel.queue_declare("svc.node.requests", durable=True))
    error = await refused(vhost.url)
    assert error.code == Code.CONFLICT
    assert "svc.node.requests" in error.message
    (command,) = re.findall(r"rabbitmqctl (-p \S+ delete_queue \S+),", error.message)
    vhost.rabbit.control(*command.split())
    connection = Connection(ConnectionOptions(url=vhost.url))
    connection.require(PARTS)
    await connection.start()
    await connection.close()


async def test_an_exchange_that_the_php_library_would_not_take(vhost):
    await raw(vhost, lambda channel: channel.exchange_declare(BUS, durable=True))
    error = await refused(vhost.url)
    assert error.code == Code.CONFLICT
    assert "auto_delete" in error.message
    assert "delete exchange name=jsonbus" in error.message


async def test_an_exclusive_queue_of_somebody_else(vhost):
    async def hold(channel):
        await channel.queue_declare("requests", exclusive=True)
        return await refused(vhost.url)

    error = await raw(vhost, hold)
    assert error.code == Code.CONFLICT
    assert "requests" in error.message


async def test_a_queue_to_consume_that_is_not_there(vhost):
    error = await refused(vhost.url, parts=(), consume="elsewhere")
    assert "elsewhere" in error.message


async def test_nobody_listens():
    port = free_port()
    error = await refused(f"amqp://guest:{SECRET}@127.0.0.1:{port}/")
    assert error.code == Code.UNAVAILABLE
    assert f"nothing listens at 127.0.0.1:{port}" in error.message
    assert SECRET not in error.message


async def test_an_url_that_is_none_is_refused_without_its_password():
    for url in (f"amqp://u:{SECRET}@host:port/", f"http://u:{SECRET}@host/", f"amqp://u:{SECRET}@/"):
        with pytest.raises(CrossdockError) as caught:
            Connection(ConnectionOptions(url=url))
        assert caught.value.code == Code.INVALID
        assert SECRET not in caught.value.message


async def test_one_who_waits_is_served_when_rabbitmq_comes(vhost):
    vhost.rabbit.stop()
    connection, inbox = Connection(ConnectionOptions(url=vhost.url)), Inbox()
    connection.require(own_queue("svc.node.requests", "requests"))
    connection.consume("svc.node.requests", inbox, prefetch=1)
    called = asyncio.Event()
    connection.on_connect(called.set)
    await connection.start(wait=True)
    assert State.UP not in connection.states
    await asyncio.to_thread(vhost.rabbit.start)
    await insist(connection, letter(1))
    await inbox.count(1)
    await asyncio.wait_for(called.wait(), SECONDS)
    await connection.close()


async def test_what_does_not_fit_later_is_told_and_the_rest_goes_on(vhost, capsys):
    connection, inbox = Connection(ConnectionOptions(url=vhost.url)), Inbox()
    connection.require(own_queue("svc.node.requests", "requests"))
    connection.consume("svc.node.requests", inbox, prefetch=1)
    await connection.start()
    await raw(vhost, lambda channel: channel.queue_declare("late", durable=True))
    connection.require(foreign_queue("late"))
    await connection.publish(letter(1))
    await inbox.count(1)
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "the queue late" in said

    await eventually(told, "the log tells about it")
    await connection.close()


# TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A node that also speaks TLS, with a certificate for localhost; its authority is in ca.pem."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(line: str) -> None:
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True, timeout=60)

    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority"
        " -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign"
    )
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem -extfile names")
    port = free_port()
    settings = {
        "listeners.ssl.1": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(folder / "ca.pem"),
        "ssl_options.certfile": str(folder / "server.pem"),
        "ssl_options.keyfile": str(folder / "server.key"),
        "ssl_options.verify": "verify_none",
        "ssl_options.fail_if_no_peer_cert": "false",
    }
    node = Rabbit(folder / "node", settings)
    try:
        node.start()
        yield folder / "ca.pem", f"amqps://guest:guest@localhost:{port}/", Vhost(node, "/")
    finally:
        node.close()


@pytest.mark.acceptance
async def test_messages_go_over_tls(tls):
    ca, url, _ = tls
    connection, inbox = Connection(ConnectionOptions(url=url, ca=str(ca))), Inbox()
    connection.require(own_queue("svc.node.requests", "requests"))
    connection.consume("svc.node.requests", inbox, prefetch=10)
    await connection.start()
    await asyncio.gather(*(connection.publish(letter(number)) for number in range(100)))
    await connection.publish(msgspec.structs.replace(letter("big"), body=b"x" * 3_000_000))
    await inbox.count(101)
    await connection.close()


@pytest.mark.acceptance
async def test_a_certificate_that_nobody_trusts(tls):
    _, url, _ = tls
    error = await refused(url)
    assert "not trusted" in error.message
    assert "(ca)" in error.message


@pytest.mark.acceptance
async def test_a_certificate_for_another_name(tls):
    ca, url, _ = tls
    error = await refused(url.replace("localhost", "127.0.0.1"), ca=str(ca))
    assert "host name" in error.message


@pytest.mark.acceptance
async def test_tls_to_a_port_without_it_and_the_reverse(tls):
    ca, url, vhost = tls
    error = await refused(f"amqps://guest:guest@localhost:{vhost.rabbit.port}/", ca=str(ca))
    assert "amqp://" in error.message
    error = await refused(url.replace("amqps", "amqp"))
    assert "amqps://" in error.message


@pytest.mark.acceptance
async def test_a_missing_authority_file(tls, tmp_path):
    _, url, _ = tls
    error = await refused(url, ca=str(tmp_path / "none.pem"))
    assert error.code == Code.INVALID
