"""Addresses of jobs queues."""

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.worker_address import ACK_AFTER, LARGEST, WorkerAddress, parse_connect


def test_the_least_that_can_be_said():
    assert parse_connect("jsonbus+amqp://host") == WorkerAddress(
        url="amqp://host", shown="jsonbus+amqp://host", node="crossdock", jobs="crossdock_jobs", results="crossdock_results"
    )


def test_everything_that_can_be_said():
    address = parse_connect(
        "jsonbus+amqps://me:se%40cret@host:5671/a%2Fb?node=thumbs&kind=resize&slots=3&ack_after=60&ahead=6&largest=2048&lists=yes"
        "&jobs=to_do&results=done&ca=/etc/ca.pem"
    )
    assert address.url == "amqps://me:se%40cret@host:5671/a%2Fb"
    assert (address.node, address.jobs, address.results) == ("thumbs", "to_do", "done")
    assert (address.kind, address.slots, address.ahead, address.ack_after, address.largest) == ("resize", 3, 6, 60.0, 2048)
    assert address.lists
    assert address.ca == "/etc/ca.pem"
    assert "cret" not in address.shown


def test_what_is_not_said():
    address = parse_connect("jsonbus+amqp://guest:guest@host/?node=thumbs")
    assert (address.jobs, address.results) == ("thumbs_jobs", "thumbs_results")
    assert (address.ack_after, address.largest, address.slots, address.lists) == (ACK_AFTER, LARGEST, None, False)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://host", "expected jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST"),
        ("jsonbus+amqp://", "expected jsonbus+amqp://"),
        ("jsonbus+amqp://host/a/b", "a / in VHOST is written %2F"),
        ("jsonbus+amqp://host:port/", "jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST"),
        ("jsonbus+amqp://host/?nod=x", "do you mean 'node'?"),
        ("jsonbus+amqp://host/?zzz=x", "there are ack_after, ahead, ca, jobs"),
        ("jsonbus+amqp://host/?node=a&node=b", "'node' is given twice"),
        ("jsonbus+amqp://host/?slots=0", "slots has to be a number from 1 to 10000"),
        ("jsonbus+amqp://host/?ack_after=soon", "ack_after has to be a number"),
        ("jsonbus+amqp://host/?ack_after=nan", "ack_after has to be a number"),
        ("jsonbus+amqp://host/?lists=maybe", "lists has to be yes or no"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, text: str):
    with pytest.raises(CrossdockError) as caught:
        parse_connect(url.replace("//host", "//me:hidden@host"))
    assert caught.value.code is Code.INVALID
    assert text in caught.value.message
    assert "hidden" not in caught.value.message
