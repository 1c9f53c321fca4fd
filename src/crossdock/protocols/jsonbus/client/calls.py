"""What both clients say and understand, as values: addresses, requests, answers. No input or output."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.address import read_address
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.messages import Notification, Request
from crossdock.protocols.jsonbus.names import notify_key, request_key
from crossdock.protocols.jsonbus.options import NodeOptions

LARGEST: Final = 2**30
"""Bytes of a result that is fetched from where the answer says it lies."""
_KNOWN: Final = ("ca", "node", "request_key")


class ClientAddress(Struct, frozen=True, kw_only=True):
    """A node: the AMQP URL of its broker, and the routing key of its requests.

    ``shown`` is the address without the password, ``ca`` a PEM file of who may sign the broker's certificate.
    """

    url: str
    shown: str
    key: str
    ca: str = ""


class Reply(Struct, frozen=True, kw_only=True):
    """A node's answer to a request that succeeded; ``data`` is what its JSON says, None if there is none."""

    request_id: str
    message: str
    data: Any = None


class RequestFailedError(CrossdockError):
    """The node has answered that a request failed. ``data`` is what it says beside the message, None if nothing."""

    def __init__(self, message: str, request_id: str, data: Any = None) -> None:
        super().__init__(Code.INTERNAL, message)
        self.request_id = request_id
        self.data = data


def parse_address(url: str, key: str = "") -> ClientAddress:
    """Return what ``jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME`` names; ``jsonbus+amqps`` is for TLS.

    More parameters: ``request_key``, the routing key of requests, and ``ca``. The ``key`` goes before the address, and there
    the ``request_key`` before that of the node with the given name; without any it is the key of a node alone on its bus.

    Raises:
        CrossdockError: ``invalid``; the text says what is wrong with it.
    """
    address = read_address(url, _KNOWN)
    node = address.text("node")
    default = request_key(node) if node else NodeOptions().request_key
    return ClientAddress(
        url=address.url, shown=address.shown, key=key or address.text("request_key", default), ca=address.text("ca")
    )


def check_client_id(client_id: str) -> str:
    """Return the client's id, a new one if it is empty. Raises ``invalid`` if no queue can be named after it."""
    client_id = client_id or f"crossdock-{uuid4().hex}"
    notify_key(client_id)
    return client_id


def new_request(client_id: str, subject: str, params: Mapping[str, Any] | None, data: Any, request_id: str) -> Request:
    """Return a request; without an id it gets a new one.

    Raises:
        CrossdockError: ``invalid`` if it has no JSON form.
    """
    try:
        return Request(
            id=request_id or str(uuid4()),
            client_id=client_id,
            subject=subject,
            params=None if params is None else msgspec.json.encode(params),
            data=None if data is None else msgspec.json.encode(data),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"the request has no JSON form: {error}") from None


def reply_of(notification: Notification, data: bytes | None, *, lists: bool) -> Reply:
    """Return an answer with its data.

    Args:
        notification: the answer.
        data: its data as JSON text.
        lists: make lists again of what PHP made objects of.

    Raises:
        RequestFailedError: the request failed.
        CrossdockError: ``internal`` if the data are no JSON.
    """
    try:
        value = None if data is None else msgspec.json.decode(listed(data) if lists else data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CrossdockError(Code.INTERNAL, f"the data of the answer cannot be understood: {error}") from None
    if notification.status == "fail":
        raise RequestFailedError(notification.message, notification.request_id, value)
    return Reply(request_id=notification.request_id, message=notification.message, data=value)
