"""The five messages of json-bus, as frozen types. Their wire form is in ``codec.py``.

``params`` and ``data`` are JSON text, kept as it came (None: the member is missing), and ``extra`` holds the JSON text of
members that the protocol does not know. Whoever passes a message on therefore passes on every digit of it.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

JobStatus = Literal["new", "success", "fail"]
TaskStatus = Literal["active", "wait", "fail", "complete"]
Ending = Literal["success", "fail"]

NOTHING: Mapping[str, bytes] = {}
"""No members that the protocol does not know."""


class Request(Struct, frozen=True, gc=False, kw_only=True):
    """What a client wants of a node. ``id`` matches the answer and names cached results, both within ``client_id``."""

    id: str
    client_id: str
    subject: str
    params: bytes | None = None
    data: bytes | None = None
    extra: Mapping[str, bytes] = NOTHING


class Task(Struct, frozen=True, gc=False, kw_only=True):
    """What a node makes of a request. ``create_time`` is whatever text the sender wrote."""

    id: str
    request_id: str
    create_time: str
    status: TaskStatus
    params: bytes | None = None
    data: bytes | None = None
    extra: Mapping[str, bytes] = NOTHING


class Job(Struct, frozen=True, gc=False, kw_only=True):
    """What a worker is given. ``attempt`` is our own member, the fence: it comes back inside the result (None: missing)."""

    id: str
    task_id: str
    create_time: str
    status: JobStatus
    params: bytes | None = None
    data: bytes | None = None
    attempt: int | None = None
    extra: Mapping[str, bytes] = NOTHING


class Notification(Struct, frozen=True, gc=False, kw_only=True):
    """A node's answer to a request."""

    request_id: str
    status: Ending
    message: str
    data: bytes | None = None
    extra: Mapping[str, bytes] = NOTHING


class Result(Struct, frozen=True, gc=False, kw_only=True):
    """A worker's answer: the job with its new status, and what came out."""

    job: Job
    data: bytes | None = None
    extra: Mapping[str, bytes] = NOTHING


Message = Request | Task | Job | Notification | Result


class Refused(Struct, frozen=True, gc=False, kw_only=True):
    """A body that is no message. ``request_id`` and ``client_id`` are there if its sender can be answered."""

    reason: str
    request_id: str | None = None
    client_id: str | None = None
