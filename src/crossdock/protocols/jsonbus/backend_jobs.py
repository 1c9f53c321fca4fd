"""Jobs as a backend assigns them to workers behind a jobs queue: their letters, and what results say. Pure functions."""

from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from crossdock.core.jobs import OutcomeKind
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.codec import create_time
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.letters import ATTEMPT, letter
from crossdock.protocols.jsonbus.messages import Job, Result, Task
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.payloads import data_of
from crossdock.protocols.jsonbus.sent_records import Answer
from crossdock.protocols.jsonbus.topology import BUS, JOBS
from crossdock.protocols.jsonbus.worker_jobs import SUBJECT

_MESSAGE: Final = 2000
_NULL: Final = b"null"


class Assignment(Struct, frozen=True):
    """A job, or a member of an array: its id, the id of the whole, the attempt's number, a JSON object, and the kind."""

    name: str
    task: str
    number: int
    payload: bytes
    kind: str = ""


def assignment_letter(assignment: Assignment, options: BackendOptions, seconds: float) -> Letter:
    """Return the letter that takes an assignment to the workers of a backend.

    Args:
        assignment: what is to be done.
        options: the backend.
        seconds: the time, since 1970.

    Raises:
        CrossdockError: ``invalid`` if receivers could not read it.
    """
    created = create_time(seconds)
    # Workers of ours that can do several things are told which of them it is.
    extra = {SUBJECT: msgspec.json.encode(assignment.kind)} if assignment.kind else {}
    # Foreign workers look for data where the protocol has them; ours put them back into the params anyway.
    data = data_of(assignment.payload) if options.foreign else None
    if options.message == "job":
        message = Job(
            id=assignment.name,
            task_id=assignment.task,
            create_time=created,
            status="new",
            params=assignment.payload,
            data=data,
            attempt=assignment.number,
            extra=extra,
        )
    else:
        message = Task(
            id=assignment.name,
            request_id=assignment.task,
            create_time=created,
            status="active",
            params=assignment.payload,
            data=data,
            extra={"attempt": b"%d" % assignment.number, **extra},
        )
    exchange = BUS if options.foreign else JOBS
    name = f"{assignment.name}.{assignment.number}"
    return letter(message, options.jobs_key, exchange=exchange, headers={ATTEMPT: assignment.number}, id=name)


def answer_of(result: Result, *, lists: bool) -> Answer:
    """Return what a result says; ``lists`` makes lists again of what PHP made objects of."""
    if result.job.status == "success":
        data = result.data or _NULL
        return Answer(good=True, data=listed(data) if lists else data)
    told = _told(result.data)
    code = told.get("code")
    return Answer(
        good=False,
        message=reason_in(result.data) or "the worker says that the job failed",
        code=code if isinstance(code, str) and code and "outcome" in told else "job_failed",
        final=told.get("outcome") == OutcomeKind.FAILED,
    )


def _told(data: bytes | None) -> dict[str, object]:
    """Return what a worker says of a failure in an object, as ours do (``worker_jobs.result_of``)."""
    try:
        value: Any = msgspec.json.decode(data or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def reason_in(data: bytes | None) -> str:
    """Return what the data of a failure say to people: a text, or the text in the member ``message`` or ``error``."""
    if data is None or data == _NULL:
        return ""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        value = next((text for name in ("message", "error") if isinstance(text := members.get(name), str)), None)
    return value[:_MESSAGE] if isinstance(value, str) else data[:_MESSAGE].decode("utf-8", "replace")
