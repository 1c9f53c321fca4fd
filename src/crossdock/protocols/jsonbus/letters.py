"""Messages as RabbitMQ carries them: the properties and headers that go with a body. Readers need none of them."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid5

from crossdock.protocols.jsonbus.bus import Headers, Letter
from crossdock.protocols.jsonbus.codec import encode
from crossdock.protocols.jsonbus.messages import Job, Message, Notification, Request, Result, Task
from crossdock.protocols.jsonbus.topology import BUS

ATTEMPT: Final = "x-attempt"
"""The header with the number of a job's attempt, counted from 1; the same as its member ``attempt``."""
REASON: Final = "x-reason"
"""The header of a dead letter that says why it is one."""

_SHORT: Final = 255
"""Bytes that AMQP lets a property have."""
_NAMESPACE: Final = UUID("6f0e9a52-5c0b-5d0e-9f5c-0d4f6b1e7a31")
_KINDS: Final[dict[type, str]] = {
    Request: "request",
    Task: "task",
    Job: "job",
    Notification: "notification",
    Result: "result",
}


def letter(
    message: Message,
    key: str,
    *,
    exchange: str = BUS,
    headers: Headers | None = None,
    id: str | None = None,  # noqa: A002 - it is called that everywhere here
) -> Letter:
    """Return the letter that takes a message to the queues bound under a key.

    Its id follows from what the message is about, so it is the same when the message is sent again: that of a request from
    the ids of client and request, that of an answer from the request's id and the status, that of a job from its id and the
    attempt. ``id`` is used instead if it is given. Jobs and their results have the header of the attempt.

    Raises:
        CrossdockError: ``invalid`` if the message cannot be written, as ``codec.encode`` says.
    """
    body = encode(message)
    job = message.job if isinstance(message, Result) else message
    sent = dict(headers or {})
    if isinstance(job, Job) and job.attempt is not None:
        sent.setdefault(ATTEMPT, job.attempt)
    kind = _KINDS[type(message)]
    return Letter(
        body=body,
        key=key,
        kind=kind,
        id=id or str(uuid5(_NAMESPACE, "\n".join((kind, key, *_about(message))))),
        correlation=_short(_correlation(message)),
        exchange=exchange,
        headers=sent,
    )


def attempt_of(headers: Mapping[str, object]) -> int | None:
    """Return the attempt that a delivery's headers name, None without one."""
    attempt = headers.get(ATTEMPT)
    return attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else None


def _about(message: Message) -> tuple[str, ...]:
    """Return what makes a message the same message again."""
    if isinstance(message, Request):
        return message.client_id, message.id
    if isinstance(message, Notification):
        return message.request_id, message.status
    if isinstance(message, Result):
        return _about(message.job)
    attempt = message.attempt if isinstance(message, Job) else None
    return message.id, str(attempt), message.status


def _correlation(message: Message) -> str:
    """Return the id of the request that a message belongs to; jobs know their task instead."""
    if isinstance(message, Request):
        return message.id
    if isinstance(message, Task | Notification):
        return message.request_id
    return message.job.task_id if isinstance(message, Result) else message.task_id


def _short(text: str) -> str:
    """Return a text that a property can hold: none at all if it is too long, as half of an id is no id."""
    return text if len(text.encode()) <= _SHORT else ""
