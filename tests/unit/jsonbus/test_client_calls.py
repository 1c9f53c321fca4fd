"""What both clients say and understand."""

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.client import calls
from crossdock.protocols.jsonbus.client.calls import ClientAddress, Reply, RequestFailedError
from crossdock.protocols.jsonbus.messages import Notification, Request
from crossdock.protocols.jsonbus.result_reference import Reference, check_reference, reference_of


def answer(data: bytes | None = None, status: str = "success") -> Notification:
    return Notification(request_id="r", status=status, message="done", data=data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "key", "found"),
    [
        ("jsonbus+amqp://h", "", "requests"),
        ("amqp://h", "", "requests"),
        ("jsonbus+amqp://h?node=thumbs", "", "thumbs_request"),
        ("jsonbus+amqp://h?node=thumbs&request_key=ask", "", "ask"),
        ("jsonbus+amqp://h?request_key=ask", "told", "told"),
    ],
)
def test_the_key_of_requests(url: str, key: str, found: str):
    assert calls.parse_address(url, key).key == found


def test_an_address():
    assert calls.parse_address("jsonbus+amqps://me:pw@host:5671/v?ca=/ca.pem") == ClientAddress(
        url="amqps://me:pw@host:5671/v", shown="jsonbus+amqps://me@host:5671/v?ca=/ca.pem", key="requests", ca="/ca.pem"
    )
    with pytest.raises(CrossdockError, match="'kind' is not known"):
        calls.parse_address("jsonbus+amqp://host?kind=x")


def test_client_ids_name_queues():
    assert calls.check_client_id("web-1") == "web-1"
    made = calls.check_client_id("")
    assert made != calls.check_client_id("")
    assert calls.check_client_id(made) == made
    with pytest.raises(CrossdockError, match="a clientId has 1 to 200 characters"):
        calls.check_client_id("a b")


def test_a_request():
    assert calls.new_request("c", "resize", {"w": 1}, [2], "r") == Request(
        id="r", client_id="c", subject="resize", params=b'{"w":1}', data=b"[2]"
    )
    bare = calls.new_request("c", "resize", None, None, "")
    assert (bare.params, bare.data) == (None, None)
    assert bare.id != calls.new_request("c", "resize", None, None, "").id
    with pytest.raises(CrossdockError, match="no JSON form"):
        calls.new_request("c", "resize", {"w": object()}, None, "r")


def test_a_reply_has_its_data_as_values():
    assert calls.reply_of(answer(), None, lists=False) == Reply(request_id="r", message="done")
    assert calls.reply_of(answer(), b'{"0":1}', lists=False).data == {"0": 1}
    assert calls.reply_of(answer(), b'{"0":1}', lists=True).data == [1]


def test_a_failure_is_raised_with_what_it_says():
    with pytest.raises(RequestFailedError) as caught:
        calls.reply_of(answer(status="fail"), b'{"code":7}', lists=False)
    assert (caught.value.message, caught.value.request_id, caught.value.data) == ("done", "r", {"code": 7})
    assert caught.value.code is Code.INTERNAL


def test_data_elsewhere():
    text = b'{"resultRef":"http://h/x?sign=1","size":5}'
    assert reference_of(answer(text)) == Reference("http://h/x?sign=1", 5)


@pytest.mark.parametrize(
    "notification",
    [
        answer(),
        answer(b"7"),
        answer(b'"resultRef"'),
        answer(b'{"resultRef":"http://h/x"}'),
        answer(b'{"resultRef":"http://h/x","size":5,"more":1}'),
        answer(b'{"resultRef":7,"size":5}'),
        answer(b'{"resultRef":"http://h/x","size":5}', status="fail"),
    ],
)
def test_data_in_the_answer(notification: Notification):
    assert reference_of(notification) is None


def test_only_what_is_wanted_is_fetched():
    check_reference(Reference("https://h/x", 10), 10)
    with pytest.raises(CrossdockError, match="no http or https URL"):
        check_reference(Reference("file:///etc/passwd", 1), 10)
    with pytest.raises(CrossdockError, match="more than 10 bytes"):
        check_reference(Reference("http://h/x", 11), 10)
