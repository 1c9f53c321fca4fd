"""The connection to RabbitMQ against a real one that goes away, comes back, and gets into trouble."""

import asyncio
import time

import aiormq
import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter, Unroutable
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.connection_session import State
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.topology import BUS, Binding, Exchange, Queue, bus, foreign_queue, own_queue

OWN = "svc.node.requests"
SECONDS = 40


class Inbox:
    """Takes deliveries and lets tests wait for facts about them."""

    def __init__(self, *, accept: bool = True) -> None:
        self.accept = accept
        self.all: list = []
        self._came = asyncio.Condition()

    def __call__(self, delivery) -> None:
        self.all.append(delivery)
        if self.accept:
            delivery.accept()
        self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        async with self._came:
            self._came.notify_all()

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.all]

    async def until(self, fact) -> None:
        async with asyncio.timeout(SECONDS), self._came:
            await self._came.wait_for(lambda: fact(self))

    async def count(self, number: int) -> None:
        await self.until(lambda inbox: len(inbox.all) >= number)


def letter(number: int | str, key: str = "requests", **more) -> Letter:
    return Letter(body=b'{"n":"%s"}' % str(number).encode(), key=key, kind="request", id=f"id-{number}", **more)


async def eventually(fact, what: str) -> None:
    """Wait for something that nobody tells about."""
    deadline = time.monotonic() + SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.02)


async def insist(connection: Connection, message: Letter) -> None:
    """Publish until it is confirmed, as the outbox does."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await connection.publish(message)
            except (CrossdockError, Unroutable):
                await asyncio.sleep(0.05)


@pytest.fixture
async def connect(vhost):
    """Makes connections to the virtual host, and closes them."""
    opened: list[Connection] = []

    def make(url: str = "", **options) -> Connection:
        connection = Connection(ConnectionOptions(url=url or vhost.url, **options))
        opened.append(connection)
        return connection

    yield make
    for connection in opened:
        await connection.close()


@pytest.fixture
async def node(connect):
    """A connection with a queue of ours."""
    connection = connect()
    connection.require(own_queue(OWN, "requests"))
    await connection.start()
    return connection


async def raw(vhost, work):
    """Do something to RabbitMQ by other means."""
    async with aiormq.connect(vhost.url) as wire:
        return await work(await wire.channel())


# Messages


async def test_letters_arrive_with_all_their_properties(node, vhost):
    await node.publish(letter(1, correlation="request-7", headers={"x-attempt": 2, "x-note": "ä"}))
    message = await raw(vhost, lambda channel: channel.basic_get(OWN))
    sent = message.header.properties
    assert message.body == b'{"n":"1"}'
    assert (sent.content_type, sent.content_encoding, sent.delivery_mode) == ("application/json", "utf-8", 2)
    assert (sent.message_id, sent.correlation_id, sent.message_type) == ("id-1", "request-7", "request")
    assert sent.app_id == "crossdock"
    assert abs(sent.timestamp.timestamp() - time.time()) < 60
    assert {"x-attempt": 2, "x-note": "ä"}.items() <= sent.headers.items()


async def test_a_consumer_gets_what_was_published(node):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=10)
    await node.publish(letter(1, correlation="c", headers={"x-hops": 3}))
    await inbox.count(1)
    (got,) = inbox.all
    assert (got.body, got.key, got.id, got.correlation, got.reply_to) == (b'{"n":"1"}', "requests", "id-1", "c", "")
    assert got.headers["x-hops"] == 3
    assert got.redelivered is False


async def test_messages_without_any_properties_are_taken(node, vhost):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=10)
    empty = aiormq.spec.Basic.Properties()
    await raw(vhost, lambda channel: channel.basic_publish(b"[]", exchange=BUS, routing_key="requests", properties=empty))
    await inbox.count(1)
    assert (inbox.all[0].body, inbox.all[0].correlation, inbox.all[0].reply_to) == (b"[]", "", "")


async def test_many_at_once_each_arrive_once(node, vhost):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=100)
    await asyncio.gather(*(node.publish(letter(number)) for number in range(2000)))
    await inbox.count(2000)
    assert len(set(inbox.bodies)) == len(inbox.bodies) == 2000
    await eventually(lambda: vhost.queues("messages")[OWN] == ["0"], "all is acknowledged")


async def test_ten_megabytes(node):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=1)
    body = b'"' + b"x" * 10_000_000 + b'"'
    await node.publish(Letter(body=body, key="requests", kind="request", id="big"))
    await inbox.count(1)
    assert inbox.bodies == [body]


async def test_more_than_rabbitmq_takes_is_too_large_and_others_go_on(node, vhost):
    vhost.rabbit.evaluate("application:set_env(rabbit, max_message_size, 1000000), persistent_term:erase(max_message_size).")
    try:
        refused = Letter(body=b"x" * 1_000_001, key="requests", kind="request", id="huge")
        for _ in range(2):
            with pytest.raises(CrossdockError) as caught:
                await node.publish(refused)
            assert caught.value.code == Code.TOO_LARGE
        await node.publish(letter("small"))
    finally:
        vhost.rabbit.evaluate("application:set_env(rabbit, max_message_size, 134217728).")


async def test_a_key_without_a_queue_is_unroutable(node):
    with pytest.raises(Unroutable, match="nobody_notify"):
        await node.publish(letter(1, key="nobody_notify"))
    results = await asyncio.gather(
        *(node.publish(letter(number, key=("nobody", "requests")[number % 2])) for number in range(200)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Unroutable, type(None)] * 100


async def test_the_same_letter_twice_at_once_is_returned_twice(node):
    results = await asyncio.gather(*(node.publish(letter(1, key="nobody")) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [Unroutable] * 3


async def test_a_full_queue_is_not_a_success(connect):
    connection = connect()
    full = Queue(name="full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    connection.require([bus(), full, Binding(exchange=BUS, queue="full", key="full")])
    await connection.start()
    await connection.publish(letter(1, key="full"))
    with pytest.raises(CrossdockError, match="full") as caught:
        await connection.publish(letter(2, key="full"))
    assert caught.value.code == Code.UNAVAILABLE


async def test_a_letter_that_is_forbidden_fails_no_others_on_its_channel(connect, vhost):
    only = r"^(jsonbus|svc\..*)$"
    connection = connect(vhost.user(f"narrow-{vhost.name}", "secret", configure=only, write=only, read=only))
    connection.require(own_queue(OWN, "requests"))
    await connection.start()
    await raw(vhost, lambda channel: channel.queue_declare("answers"))
    forbidden = letter("x", key="answers", exchange="")
    first, found, second = await asyncio.gather(
        connection.publish(letter(1)), connection.publish(forbidden), connection.publish(letter(2)), return_exceptions=True
    )
    assert isinstance(found, CrossdockError)
    assert (found.code, "amq.default" in found.message) == (Code.UNAUTHORIZED, True)
    # Those beside it are in doubt, as after any lost channel, and not refused.
    assert [getattr(result, "code", Code.UNAVAILABLE) for result in (first, second)] == [Code.UNAVAILABLE] * 2
    await insist(connection, letter(1))
    under_way = asyncio.gather(*(connection.publish(letter(number)) for number in range(3, 50)))
    with pytest.raises(CrossdockError, match=r"amq\.default"):
        await connection.publish(forbidden)
    await under_way  # RabbitMQ was not asked again


# RabbitMQ goes and comes


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_everything_is_put_back_after_rabbitmq_came_back(node, vhost, end):
    inbox, calls = Inbox(), []
    node.consume(OWN, inbox, prefetch=10)
    node.on_connect(lambda: calls.append(1))
    await node.publish(letter("before"))
    await inbox.count(1)
    await asyncio.to_thread(getattr(vhost.rabbit, end))
    await eventually(lambda: node.states == (State.DOWN, State.DOWN), "both links notice")
    with pytest.raises(CrossdockError) as caught:
        await node.publish(letter("meanwhile"))
    assert caught.value.code == Code.UNAVAILABLE
    await asyncio.to_thread(vhost.rabbit.start)
    await insist(node, letter("after"))
    await inbox.until(lambda inbox: b'{"n":"after"}' in inbox.bodies)
    await eventually(lambda: calls, "the call after the connection")


async def test_no_confirmed_message_is_lost_by_a_kill_under_load(node, vhost):
    inbox, confirmed = Inbox(), set()
    node.consume(OWN, inbox, prefetch=50)

    async def publish(number: int) -> None:
        await insist(node, letter(number))
        confirmed.add(b'{"n":"%d"}' % number)

    load = asyncio.gather(*(publish(number) for number in range(1500)))
    await inbox.count(300)
    await asyncio.to_thread(vhost.rabbit.kill)
    await asyncio.to_thread(vhost.rabbit.start)
    async with asyncio.timeout(SECONDS):
        await load
    await inbox.until(lambda inbox: confirmed <= set(inbox.bodies))
    assert len(confirmed) == 1500


async def test_what_was_not_settled_comes_again_and_late_settlements_do_no_harm(node, vhost):
    inbox = Inbox(accept=False)
    node.consume(OWN, inbox, prefetch=10)
    await node.publish(letter(1))
    await inbox.count(1)
    await asyncio.to_thread(vhost.rabbit.restart)
    await inbox.count(2)
    old, new = inbox.all
    assert (old.body, new.redelivered) == (new.body, True)
    old.accept()
    old.reject(requeue=True)
    new.accept()
    new.accept()
    await eventually(lambda: vhost.queues("messages")[OWN] == ["0"], "it is acknowledged")
    await insist(node, letter(2))
    await inbox.count(3)


async def test_a_lost_php_exchange_is_declared_again(node, vhost):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=10)
    await raw(vhost, lambda channel: channel.exchange_delete(BUS))
    results = await asyncio.gather(*(node.publish(letter(number)) for number in range(20)), return_exceptions=True)
    for number, result in enumerate(results):
        if result is not None:
            await insist(node, letter(number))
    await inbox.until(lambda inbox: len(set(inbox.bodies)) == 20)


async def test_an_exchange_that_is_not_ours_is_unroutable(node):
    with pytest.raises(Unroutable, match="gone"):
        await node.publish(letter(1, exchange="elsewhere"))
    await node.publish(letter(2))


async def test_a_deleted_queue_is_declared_and_consumed_again(node, vhost):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=10)
    await node.publish(letter(1))
    await inbox.count(1)
    await raw(vhost, lambda channel: channel.queue_delete(OWN))
    # What is published while RabbitMQ takes the old queue down may go down with it.
    for number in range(2, 200):
        await insist(node, letter(number))
        if len(inbox.all) > 1:
            break
        await asyncio.sleep(0.05)
    await inbox.count(2)


async def test_a_channel_that_rabbitmq_closes_takes_no_other_with_it(node, vhost):
    node.require([Queue(name="other"), Binding(exchange=BUS, queue="other", key="other")])
    broken, fine = Inbox(accept=False), Inbox(accept=False)
    node.consume("other", broken, prefetch=1)
    node.consume(OWN, fine, prefetch=1)
    await insist(node, letter(1, key="other"))
    await node.publish(letter(2))
    await broken.count(1)
    await fine.count(1)
    # An acknowledgement of what was never delivered is the simplest way to have RabbitMQ close a channel.
    broken.all[0]._settling.open[77] = False
    broken.all[0]._settling.accept(77)
    await broken.count(2)
    fine.all[0].accept()
    await eventually(lambda: vhost.queues("messages")[OWN] == ["0"], "the other channel still acknowledges")


# Alarms


async def test_an_alarm_makes_publishers_wait_and_loses_nothing(node, vhost):
    inbox = Inbox()
    node.consume(OWN, inbox, prefetch=10)
    await node.publish(letter("first"))
    await asyncio.to_thread(vhost.rabbit.alarm, on=True)
    waiting = [asyncio.create_task(node.publish(letter(number))) for number in range(50)]
    await eventually(lambda: node.states[0] is State.BLOCKED, "RabbitMQ says that it blocks us")
    later = asyncio.create_task(node.publish(letter("later")))
    done, _ = await asyncio.wait([*waiting, later], timeout=0.5)
    assert not done
    assert node.states[1] is State.UP
    await asyncio.to_thread(vhost.rabbit.alarm, on=False)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*waiting, later)
    await inbox.count(52)
    assert len(set(inbox.bodies)) == len(inbox.bodies) == 52


async def test_an_alarm_that_stays_is_told_with_what_to_do(connect, vhost):
    connection = connect(patience=1.0)
    connection.require(own_queue(OWN, "requests"))
    await connection.start()
    await connection.publish(letter("first"))
    await asyncio.to_thread(vhost.rabbit.alarm, on=True)
    for number in range(2):
        with pytest.raises(CrossdockError, match=r"blocks.*memory.*rabbitmqctl status") as caught:
            await connection.publish(letter(number))
        assert caught.value.code == Code.UNAVAILABLE
    await asyncio.to_thread(vhost.rabbit.alarm, on=False)
    await insist(connection, letter("last"))


# Limits


async def test_the_limit_can_be_raised_lowered_and_be_none(node):
    inbox = Inbox(accept=False)
    consumer = node.consume(OWN, inbox, prefetch=2)
    for number in range(12):
        await node.publish(letter(number))
    await inbox.count(2)
    consumer.limit(5)
    await inbox.count(5)
    consumer.limit(0)
    for delivery in inbox.all:
        delivery.accept()
    await asyncio.sleep(0.5)
    assert len(inbox.all) == 5
    consumer.limit(3)
    await inbox.count(8)
    inbox.all[5].accept()
    await inbox.count(9)
    await asyncio.sleep(0.3)
    assert len(inbox.all) == 9


async def test_a_closed_consumer_takes_nothing_more_but_settles(node, vhost):
    inbox = Inbox(accept=False)
    consumer = node.consume(OWN, inbox, prefetch=1)
    await node.publish(letter(1))
    await node.publish(letter(2))
    await inbox.count(1)
    await consumer.close()
    inbox.all[0].accept()
    await eventually(lambda: vhost.queues("messages", "consumers")[OWN] == ["1", "0"], "one is left, nobody consumes")
    assert len(inbox.all) == 1


async def test_rejected_comes_again_or_becomes_a_dead_letter(node, vhost):
    inbox = Inbox(accept=False)
    node.consume(OWN, inbox, prefetch=1)
    await node.publish(letter(1))
    await inbox.count(1)
    inbox.all[0].reject(requeue=True)
    await inbox.count(2)
    assert inbox.all[1].redelivered
    inbox.all[1].reject(requeue=False)
    await eventually(lambda: vhost.queues("messages")[f"{OWN}.dead"] == ["1"], "it is a dead letter")


async def test_a_pause_does_not_delete_an_auto_delete_queue(connect, vhost):
    connection, inbox = connect(), Inbox(accept=False)
    connection.require(foreign_queue("client_notify"))
    consumer = connection.consume("client_notify", inbox, prefetch=5)
    await connection.start()
    consumer.limit(0)
    await connection.publish(letter(1, key="client_notify"))
    await connection.publish(letter(2, key="client_notify"))
    await inbox.count(1)
    consumer.limit(8)
    await inbox.count(2)
    assert vhost.queues("durable", "auto_delete")["client_notify"] == ["true", "true"]


async def test_without_acknowledgement_nothing_is_settled(connect, vhost):
    connection, inbox = connect(), Inbox()
    connection.require(foreign_queue("php"))
    connection.consume("php", inbox, prefetch=5, acknowledge=False)
    await connection.start()
    for number in range(20):
        await connection.publish(letter(number, key="php"))
    await inbox.count(20)
    assert vhost.queues("messages")["php"] == ["0"]


async def test_queues_exist_or_not(node, vhost):
    assert await node.exists(OWN)
    assert not await node.exists("svc.nobody.jobs")
    await asyncio.to_thread(vhost.rabbit.kill)
    await eventually(lambda: node.states[1] is State.DOWN, "the link notices")
    with pytest.raises(CrossdockError) as caught:
        await node.exists(OWN)
    assert caught.value.code == Code.UNAVAILABLE
    assert Exchange(name=BUS, auto_delete=True) == bus()
