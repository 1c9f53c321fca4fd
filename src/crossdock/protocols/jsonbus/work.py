"""One thing to push to workers behind a jobs queue: its letter, and what the result of it says. Pure functions."""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct

from crossdock.core.jobs import OutcomeKind
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.codec import create_time
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.letters import ATTEMPT, letter
from crossdock.protocols.jsonbus.messages import Job, Result, Task
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.sent import Answer
from crossdock.protocols.jsonbus.topology import BUS, JOBS
from crossdock.protocols.jsonbus.worker_jobs import SUBJECT

_MESSAGE: Final = 2000
_NULL: Final = b"null"

_object: Final = msgspec.json.Decoder(dict[str, Raw])


class Work(Struct, frozen=True):
    """A job, or a member of an array: its id, the id of the whole, the attempt's number, a JSON object, and the kind."""

    name: str
    task: str
    number: int
    payload: bytes
    kind: str = ""


def work_letter(work: Work, options: BackendOptions, seconds: float) -> Letter:
    """Return the letter that takes work to the workers of a backend.

    Args:
        work: the work.
        options: the backend.
        seconds: the time, since 1970.

    Raises:
        CrossdockError: ``invalid`` if receivers could not read it.
    """
    created = create_time(seconds)
    # Workers of ours that can do several things are told which of them it is.
    extra = {SUBJECT: msgspec.json.encode(work.kind)} if work.kind else {}
    # Foreign workers look for data where the protocol has them; ours put them back into the params anyway.
    data = data_of(work.payload) if options.foreign else None
    if options.message == "job":
        message = Job(
            id=work.name,
            task_id=work.task,
            create_time=created,
            status="new",
            params=work.payload,
            data=data,
            attempt=work.number,
            extra=extra,
        )
    else:
        message = Task(
            id=work.name,
            request_id=work.task,
            create_time=created,
            status="active",
            params=work.payload,
            data=data,
            extra={"attempt": b"%d" % work.number, **extra},
        )
    exchange = BUS if options.foreign else JOBS
    name = f"{work.name}.{work.number}"
    return letter(message, options.jobs_key, exchange=exchange, headers={ATTEMPT: work.number}, id=name)


def data_of(payload: bytes) -> bytes | None:
    """Return the member ``data`` of a payload, which a message has as its own member beside its params."""
    if b'"data"' not in payload:
        return None
    data = _object.decode(payload).get("data")
    return None if data is None else bytes(data)


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
