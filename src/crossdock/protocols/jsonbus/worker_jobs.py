"""Jobs of a jobs queue as a worker understands them, and the results it answers with. No input or output."""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import decode_id
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.jsonbus.json_text import integer_in, listed, read_members, string_in
from crossdock.protocols.jsonbus.messages import Job, Message, Refused, Result, Task
from crossdock.protocols.jsonbus.payloads import payload_of

SUBJECT: Final = "subject"
"""The member, unknown to the protocol, in which our backends say what kind a job is."""
_ATTEMPT: Final = "attempt"
_ID_BITS: Final = 63


class Work(Struct, frozen=True):
    """What a job asks for: a kind and its payload."""

    kind: str
    payload: bytes


def job_of(message: Message | Refused) -> Job:
    """Return the job in a message; a task is a task with one job.

    Raises:
        CrossdockError: ``invalid`` if it is neither.
    """
    if isinstance(message, Job):
        return message
    if isinstance(message, Task):
        rest = dict(message.extra)
        attempt = _attempt(rest)
        return Job(
            id=message.id,
            task_id=message.id,
            create_time=message.create_time,
            status="new",
            params=message.params,
            data=message.data,
            attempt=attempt,
            extra=rest,
        )
    reason = message.reason if isinstance(message, Refused) else f"a {type(message).__name__} has no place in a jobs queue"
    raise CrossdockError(Code.INVALID, reason)


def work_of(job: Job, kinds: Sequence[str], fixed: str = "", *, lists: bool = False) -> Work:
    """Return what a job asks for.

    The kind is, whatever is there first: ``fixed``, the member ``subject``, the only one there is, the parameter
    ``subject`` if it names one. The payload is ``params``, with ``data`` as a member if it is there.

    Args:
        job: the job.
        kinds: what the worker can do.
        fixed: the kind of every job, empty for none.
        lists: make lists again of what PHP made objects of.

    Raises:
        CrossdockError: ``invalid`` if the kind cannot be told.
    """
    params, data = job.params, job.data
    if lists:
        params, data = (None if text is None else listed(text) for text in (params, data))
    kind = fixed or string_in(job.extra.get(SUBJECT)) or _only(kinds)
    if not kind:
        kind, params = _named(params, kinds)
    return Work(kind, payload_of(params, data))


def number_of(job: Job) -> int:
    """Return the number that stands for a job's id here: the same for the same id, and that of our own jobs for theirs."""
    try:
        return decode_id(job.id)
    except CrossdockError:
        digest = hashlib.sha256(job.id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) >> (64 - _ID_BITS)


def result_of(job: Job, outcome: Outcome) -> Result:
    """Return the answer to a job: the job itself with its new status, and what came out.

    Of a failure the data say ``code``, ``message``, and in ``outcome`` whether it was the job's fault, which another attempt
    does not mend (``failed``), or not (``errored``, ``timed_out`` …). ``retryAfter`` is seconds that the function asked for.
    """
    if outcome.kind is OutcomeKind.SUCCEEDED:
        data = outcome.result if isinstance(outcome.result, bytes) else b"null"
        return Result(job=replace(job, status="success"), data=data)
    if outcome.code == Code.TOO_LARGE:
        job = replace(job, params=None, data=None)
    return Result(job=replace(job, status="fail"), data=_failure(outcome))


def _failure(outcome: Outcome) -> bytes:
    failure: dict[str, object] = {
        "code": outcome.code,
        "message": outcome.message or outcome.code or "the job failed",
        "outcome": outcome.kind.value,
    }
    if outcome.retry_after is not None:
        failure["retryAfter"] = outcome.retry_after
    return msgspec.json.encode(failure)


def _named(params: bytes | None, kinds: Sequence[str]) -> tuple[str, bytes]:
    """Return the kind that params name, and the other params."""
    members = read_members(params) if params is not None and params[:1] == b"{" else {}
    kind = string_in(members.pop(SUBJECT, None))
    if kind is None or kind not in kinds:
        text = f"the job does not say what it is: its member 'subject' has to be one of {', '.join(sorted(kinds))}"
        raise CrossdockError(Code.INVALID, text)
    return kind, msgspec.json.encode(members)


def _only(kinds: Sequence[str]) -> str:
    return kinds[0] if len(kinds) == 1 else ""


def _attempt(members: dict[str, bytes]) -> int | None:
    attempt = integer_in(members.get(_ATTEMPT))
    if attempt is not None:
        del members[_ATTEMPT]
    return attempt
