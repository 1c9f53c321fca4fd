"""Requests of a json-bus client, and the notifications that answer them."""

import uuid
from typing import Final

import msgspec

from bench.amqp import publication


class _Notification(msgspec.Struct, rename="camel"):
    request_id: str
    status: str


_notification: Final = msgspec.json.Decoder(_Notification)


def publications(count: int, reply: str, subject: str) -> dict[str, bytes]:
    """Return requests of the client whose queue is ``reply``, by their ids."""
    client = reply.removesuffix("_notify")
    return dict(_publication(number, client, subject) for number in range(count))


def _publication(number: int, client: str, subject: str) -> tuple[str, bytes]:
    name = str(uuid.uuid4())
    request = {"type": "request", "id": name, "clientId": client, "subject": subject, "params": {"n": number}}
    return name, publication("jsonbus", "requests", msgspec.json.encode(request), message_id=name)


def answered(body: bytes) -> str:
    """Return the id of the request that a message answers.

    Raises:
        RuntimeError: it failed.
    """
    notification = _notification.decode(body)
    if notification.status != "success":
        raise RuntimeError(f"a request ended so: {body!r}")
    return notification.request_id
