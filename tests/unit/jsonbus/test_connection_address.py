"""What an URL means for the connection, and what of it may be shown."""

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.complaints import broker, permissions
from crossdock.protocols.jsonbus.link import ConnectionOptions, connection_url
from crossdock.protocols.jsonbus.topology import foreign_queue, own_queue


def url(text: str, **options):
    return connection_url(ConnectionOptions(url=text, **options), "consumes")


def test_heartbeats_are_on_unless_the_url_says_otherwise():
    assert url("amqp://a:b@host/").query["heartbeat"] == "15"
    assert url("amqp://a:b@host/?heartbeat=0").query["heartbeat"] == "0"


def test_ports_authority_and_name():
    assert url("amqp://a:b@host/").port == 5672
    assert url("amqps://a:b@host/").port == 5671
    assert url("amqps://a:b@host:1/", ca="/ca.pem").query["cafile"] == "/ca.pem"
    assert url("amqp://a:b@host/", name="me").query["name"] == "me consumes"


@pytest.mark.parametrize(
    ("text", "vhost"),
    [("amqp://h", "/"), ("amqp://h/", "/"), ("amqp://h/%2F", "/"), ("amqp://h/a", "a"), ("amqp://h/a%2Fb", "a/b")],
)
def test_virtual_hosts(text, vhost):
    assert broker(url(text)).vhost == vhost


def test_no_password_is_shown():
    shown = broker(url("amqp://al%20ice:s3cret@host/v"))
    assert (shown.user, shown.address) == ("al ice", "host:5672")
    assert "s3cret" not in repr(shown)


@pytest.mark.parametrize("text", ["", "host", "http://u:s3cret@h/", "amqp://u:s3cret@/", "amqp://u:s3cret@h:port/"])
def test_what_is_no_url_of_rabbitmq_is_refused_without_its_password(text):
    with pytest.raises(CrossdockError) as caught:
        url(text)
    assert caught.value.code == Code.INVALID
    assert "s3cret" not in str(caught.value)


def test_the_permissions_of_a_node():
    parts = (*own_queue("svc.node.requests", "requests"), *foreign_queue("re.quests"))
    pattern, write = r"^(jsonbus|re\.quests|svc\..*)$", r"^(amq\.default|jsonbus|re\.quests|svc\..*)$"
    assert permissions("u", "/v", parts) == f"rabbitmqctl set_permissions -p /v u '{pattern}' '{write}' '{pattern}'"


def test_only_who_answers_requests_may_write_to_any_queue():
    assert "amq" not in permissions("u", "/v", own_queue("svc.worker.results", "results"))
