"""The JSON Schemas of the five messages, as they are accepted: what has to be there, and that anything else may be."""

from collections.abc import Mapping
from typing import Final, get_args

from crossdock.protocols.jsonbus.messages import Ending, JobStatus, TaskStatus

Schema = Mapping[str, object]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
PATH: Final = "/schemas/jsonbus"
"""Where the schemas are served, and what their names begin with."""

_DATA: Final[Schema] = {"description": "Anything. null counts as missing."}
_PARAMS: Final[Schema] = {
    "type": ["object", "array"],
    "description": 'Depends on the subject. A list is taken for an object with the names "0", "1", "2" …',
}
_ATTEMPT: Final[Schema] = {
    "description": "Of the sender of jobs: an integer that tells one attempt from another. It has to come back unchanged in "
    "the result. Anything else under this name is left alone.",
}


def _string(description: str) -> Schema:
    return {"type": "string", "description": description}


def _status(statuses: tuple[str, ...]) -> Schema:
    return {"enum": list(statuses)}


_REQUEST: Final[Mapping[str, Schema]] = {
    "id": _string("Matches the answer and names it in the cache, together with clientId."),
    "clientId": _string("Who asks. The answer goes to the queue that is named after it."),
    "subject": _string("What is wanted: the kind of job."),
}
_TASK: Final[Mapping[str, Schema]] = {
    "id": _string("The task's own id."),
    "requestId": _string("The request it was made of."),
    "createTime": _string("Any text; we write RFC 3339 in UTC, like 2026-11-22T17:01:45Z."),
    "status": _status(get_args(TaskStatus)),
}
_JOB: Final[Mapping[str, Schema]] = {
    "id": _string("The same for every attempt of the job."),
    "taskId": _string("The task it belongs to."),
    "createTime": _TASK["createTime"],
    "status": _status(get_args(JobStatus)),
}
_NOTIFICATION: Final[Mapping[str, Schema]] = {
    "requestId": _string("The request that is answered."),
    "status": _status(get_args(Ending)),
    "message": _string("For people."),
}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _message(name: str, says: str, required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    about = {"$schema": DIALECT, "$id": f"{PATH}/{name}.json", "title": name, "description": says}
    return {**about, **_object({"type": {"const": name}, **required}, optional)}


_FOR_WORKERS: Final = {"params": _PARAMS, "data": _DATA}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "request": _message("request", "What a client wants of a node.", _REQUEST, _FOR_WORKERS),
    "task": _message("task", "What a node makes of a request.", _TASK, _FOR_WORKERS),
    "job": _message("job", "What a worker is given.", _JOB, {**_FOR_WORKERS, "attempt": _ATTEMPT}),
    "notification": _message("notification", "A node's answer to a request.", _NOTIFICATION, {"data": _DATA}),
    "result": _message(
        "result",
        "A worker's answer: the job with its new status, and what came out.",
        {"job": _object(_JOB, {**_FOR_WORKERS, "attempt": _ATTEMPT})},
        {"data": _DATA},
    ),
}
"""A schema for each type of message."""
