"""The members of a JSON object, made a message: what is missing or wrong is named, what is unknown stays."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast, get_args

from crossdock.protocols.jsonbus.json_text import Members, integer_in, read_members, string_in
from crossdock.protocols.jsonbus.messages import (
    Ending,
    Job,
    JobStatus,
    Message,
    Notification,
    Request,
    Result,
    Task,
    TaskStatus,
)

Status = TypeVar("Status", bound=str)

_OLDER: Final = {"taskId", "jobStatus"}
"""Members of the results that were sent before October 2015."""


class Wrong(Exception):
    """A body that is no message, and why."""


def _request(members: Members) -> Request:
    return Request(
        id=_text(members, "id"),
        client_id=_text(members, "clientId"),
        subject=_text(members, "subject"),
        params=_params(members),
        data=_json(members, "data"),
        extra=_rest(members),
    )


def _task(members: Members) -> Task:
    return Task(
        id=_text(members, "id"),
        request_id=_text(members, "requestId"),
        create_time=_text(members, "createTime"),
        status=cast("TaskStatus", _status(members, get_args(TaskStatus))),
        params=_params(members),
        data=_json(members, "data"),
        extra=_rest(members),
    )


def _job(members: Members) -> Job:
    return Job(
        id=_text(members, "id"),
        task_id=_text(members, "taskId"),
        create_time=_text(members, "createTime"),
        status=cast("JobStatus", _status(members, get_args(JobStatus))),
        params=_params(members),
        data=_json(members, "data"),
        attempt=_attempt(members),
        extra=_rest(members),
    )


def _notification(members: Members) -> Notification:
    return Notification(
        request_id=_text(members, "requestId"),
        status=cast("Ending", _status(members, get_args(Ending))),
        message=_text(members, "message"),
        data=_json(members, "data"),
        extra=_rest(members),
    )


def _result(members: Members) -> Result:
    text = _json(members, "job")
    if text is None:
        if _OLDER & members.keys():
            raise Wrong("it is a result of the older form with taskId and jobStatus; send the job in the member 'job'")
        raise Wrong("the member 'job' is missing")
    if text[:1] != b"{":
        raise Wrong("'job' must be an object")
    inner = read_members(text)
    inner.pop("type", None)  # the PHP library does not look at it, so it may say anything
    try:
        job = _job(inner)
    except Wrong as wrong:
        raise Wrong(f"in 'job': {wrong}") from None
    return Result(job=job, data=_json(members, "data"), extra=_rest(members))


READERS: Final[dict[str, Callable[[Members], Message]]] = {
    "request": _request,
    "task": _task,
    "job": _job,
    "notification": _notification,
    "result": _result,
}
"""What makes a message of the members other than ``type``, by that type. It uses the members up, and raises Wrong."""
ANSWERS: Final = READERS.keys() - {"request"}
"""The types whose sender expects no answer."""


def _text(members: Members, name: str) -> str:
    if name not in members:
        raise Wrong(f"the member '{name}' is missing")
    text = string_in(members[name])
    if text is None:
        raise Wrong(f"'{name}' must be a string")
    del members[name]
    return text


def _status(members: Members, statuses: tuple[str, ...]) -> str:
    status = _text(members, "status")
    if status not in statuses:
        raise Wrong(f"'status' must be one of {', '.join(statuses)}")
    return status


def _json(members: Members, name: str) -> bytes | None:
    text = members.pop(name, None)
    return None if text is None else bytes(text)


def _params(members: Members) -> bytes | None:
    params = _json(members, "params")
    if params is not None and params[:1] not in (b"{", b"["):
        raise Wrong("'params' must be an object or a list")
    return params


def _attempt(members: Members) -> int | None:
    """Return the attempt. Whatever somebody else may mean by that name stays an unknown member."""
    attempt = integer_in(members.get("attempt"))
    if attempt is not None:
        del members["attempt"]
    return attempt


def _rest(members: Members) -> Mapping[str, bytes]:
    return {name: bytes(text) for name, text in members.items()}
