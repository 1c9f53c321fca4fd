"""Messages, made objects to be written: ``type`` first, then what the protocol knows, then what only others know."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from crossdock.protocols.jsonbus.messages import Job, Message, Notification, Request, Result, Task

Wire = dict[str, object]


def _request(message: Request) -> Wire:
    wire: Wire = {"type": "request", "id": message.id, "clientId": message.client_id, "subject": message.subject}
    return _completed(wire, message, message.params)


def _task(message: Task) -> Wire:
    wire: Wire = {"type": "task", "id": message.id, "requestId": message.request_id}
    wire |= {"createTime": message.create_time, "status": message.status}
    return _completed(wire, message, message.params)


def _job(message: Job) -> Wire:
    wire: Wire = {"type": "job", "id": message.id, "taskId": message.task_id}
    wire |= {"createTime": message.create_time, "status": message.status}
    if message.attempt is not None:
        wire["attempt"] = message.attempt
    return _completed(wire, message, message.params)


def _notification(message: Notification) -> Wire:
    wire: Wire = {"type": "notification", "requestId": message.request_id}
    wire |= {"status": message.status, "message": message.message}
    return _completed(wire, message)


def _result(message: Result) -> Wire:
    return _completed({"type": "result", "job": _job(message.job)}, message)


WRITERS: Final[dict[type, Callable[[Any], Wire]]] = {
    Request: _request,
    Task: _task,
    Job: _job,
    Notification: _notification,
    Result: _result,
}
"""What makes an object of a message, by its type."""


def _completed(wire: Wire, message: Message, params: bytes | None = None) -> Wire:
    if params is not None:
        wire["params"] = Raw(params)
    if message.data is not None:
        wire["data"] = Raw(message.data)
    for name, text in message.extra.items():
        wire.setdefault(name, Raw(text))
    return wire
