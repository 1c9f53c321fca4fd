"""Between the words of ReCodEx and those of the core: headers, payloads, outcomes, and the texts the protocol fixes.

Pure functions. Matching itself is the core's, whose rules are ReCodEx's own.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Document, Outcome, OutcomeKind, Subscriber
from crossdock.core.matching import parse_count
from crossdock.core.policy import Overrides
from crossdock.core.requests import Capabilities, Record, Step, Submit
from crossdock.protocols.recodex.messages import (
    CHANNEL,
    ERR,
    EVALUATION,
    FAILED,
    INTERNAL_ERROR,
    OK,
    Done,
    Eval,
    Init,
    Owed,
    Pair,
    Progress,
)
from crossdock.runners.program.payload import EvaluationPayload

JOBS: Final = "recodex.job"
"""Records whose key is the id of a job as its client knows it and whose value is a :class:`Known`."""
PLAIN: Final = "recodex/"
"""How the ids begin that plain workers get in the core."""
STATUSES: Final = frozenset({OK, FAILED, ERR, INTERNAL_ERROR})
FROZEN: Final = "The broker is frozen."
TIMED_OUT: Final = "Worker timed out and its job cannot be reassigned"

_KIND: Final = "kind"
_HEADER_KIND: Final = "header.kind"
"""A header that happens to be called like our own requirement gets another name in the core, on both sides."""
_LONGEST_JOB: Final = 255
_MOST_HEADERS: Final = 256
_DIGEST: Final = 12

_encode: Final = msgspec.json.Encoder().encode
_any: Final = msgspec.json.Decoder()


class Known(Struct, frozen=True):
    """What a job id stands for: the newest job of that id, and a digest of the frames it came in."""

    job: int
    frames: str


class Work(Struct, frozen=True):
    """What a lease asks of a plain worker. ``archive`` and ``result`` are None if they have to be published first."""

    job: str
    archive: str | None
    result: str | None


_known: Final = msgspec.json.Decoder(Known)


# Jobs that come in


def kind_of(message: Eval) -> str:
    """Return the kind of job that a client asks for."""
    return dict(message.meta).get(_KIND, EVALUATION)


@lru_cache(maxsize=4096)
def requirements(headers: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Return what headers ask of a worker, in the core's words."""
    return tuple(sorted((_HEADER_KIND if name == _KIND else name, value) for name, value in headers))


def refusal(message: Eval) -> str | None:
    """Say why no job can be made of a message, None if one can."""
    if len(message.job.encode()) > _LONGEST_JOB:
        return f"The job id is longer than {_LONGEST_JOB} bytes."
    if len(message.headers) > _MOST_HEADERS:
        return f"There are more than {_MOST_HEADERS} headers."
    for name, value in message.headers:
        if name == "threads" and parse_count(value) is None:
            return f"The header threads={value[:40]} is not a number."
    return None


def no_worker(headers: tuple[Pair, ...]) -> str:
    """Return the text of the original broker: the headers sorted by name, equal names in the order they came."""
    listed = "".join(f"{name}={value}; " for name, value in sorted(headers, key=lambda pair: pair[0]))
    return f"No worker available for given headers: {listed}"


def digest(message: Eval) -> str:
    """Return what tells the frames of a message from others under the same job id."""
    parts = (message.archive, message.result, message.headers, message.meta)
    return blake2b(_encode(parts), digest_size=_DIGEST).hexdigest()


def submit(
    message: Eval, frames: str, payload: bytes | None, attempts: int | None, expires: float, *, told: bool = True
) -> Submit:
    """Return the request to the core.

    Args:
        message: what the client sent.
        frames: its digest.
        payload: the JSON of a job of another kind than evaluation; None for an evaluation.
        attempts: how often it is tried in all, None if its kind says so.
        expires: until when its id is remembered (seconds since 1970).
        told: whether somebody is told how evaluations end; a result of another kind has to be put to its URL anyway.
    """
    kind = kind_of(message)
    notify: tuple[Subscriber, ...] = ()
    if payload is not None:
        notify = (Subscriber(CHANNEL, Owed(message.job, message.result, kind).address()),)
    elif told:
        notify = (Subscriber(CHANNEL, Owed(message.job).address()),)
    if payload is None:
        evaluation = EvaluationPayload(
            submission=message.archive, result_url=message.result, job_id=message.job, meta=dict(message.meta)
        )
        payload = _encode(evaluation)
    record = Record(JOBS, message.job, b'{"job":{job},"frames":"%b"}' % frames.encode(), expires)
    return Submit(
        kind=kind,
        payload=payload,
        requirements=requirements(message.headers),
        overrides=None if attempts is None else Overrides(attempts=attempts),
        notify=notify,
        records=(record,),
    )


def read_known(value: bytes) -> Known:
    """Return what a record of :data:`JOBS` says."""
    return _known.decode(value)


def check_payload(content: bytes) -> bytes:
    """Return JSON text that was fetched for a job.

    Raises:
        CrossdockError: ``invalid`` if it is none.
    """
    try:
        _any.decode(content)
    except (ValueError, RecursionError):
        raise CrossdockError(Code.INVALID, "what the archive URL holds is not JSON") from None
    return content


# Workers


def capabilities(message: Init, kinds: tuple[str, ...]) -> Capabilities:
    """Return what a worker offers, in the core's words."""
    values: dict[str, tuple[str, ...]] = {}
    for name, value in message.headers:
        renamed = _HEADER_KIND if name == _KIND else name
        values[renamed] = (*values.get(renamed, ()), value)
    return Capabilities(group=message.group, values={**values, _KIND: kinds})


def work(job_id: int, payload: bytes) -> Work:
    """Return what a job of kind evaluation asks of a plain worker.

    Raises:
        CrossdockError: ``invalid`` if the payload is no evaluation.
    """
    try:
        found: Any = _any.decode(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "submission" not in found:
        raise CrossdockError(Code.INVALID, "the payload of an evaluation needs a member 'submission'")
    known = cast("dict[str, object]", found)
    archive, result, name = (known.get(member) for member in ("submission", "result_url", "job_id"))
    return Work(
        name if isinstance(name, str) and 0 < len(name.encode()) <= _LONGEST_JOB else encode_id(job_id),
        archive if isinstance(archive, str) else None,
        result if isinstance(result, str) else None,
    )


def step(message: Progress) -> Step:
    """Return progress as a step of the attempt."""
    _, phase, *task = (frame.decode(errors="backslashreplace") for frame in message.frames[:4])
    return Step(phase, *task)


# Ends


def outcome(message: Done, attempt: int, most: int, result: Document) -> Outcome:
    """Return how an attempt ended.

    Args:
        message: what the worker said, with one of :data:`STATUSES`.
        attempt: which attempt it was, counted from 1.
        most: how many there may be.
        result: the result of the job, should it have succeeded.
    """
    if message.status == OK:
        return Outcome(kind=OutcomeKind.SUCCEEDED, result=result)
    if message.status in {FAILED, ERR}:
        return Outcome(kind=OutcomeKind.FAILED, code="failed", message=message.message)
    text = given_up(message.message, attempt, most)
    return Outcome(kind=OutcomeKind.ERRORED, code="internal_error", message=text, retry_after=0.0)


def delivered(result_url: str) -> bytes:
    """Return the result of an evaluation whose worker has sent its results to a URL, or nowhere we know of."""
    return _encode({"status": OK, "result_url": result_url} if result_url else {"status": OK})


def lost(attempt: int, most: int) -> Outcome:
    """Return the end of an attempt whose worker has fallen silent."""
    return Outcome(kind=OutcomeKind.LOST, code="lost", message=given_up(TIMED_OUT, attempt, most), retry_after=0.0)


def given_up(message: str, attempt: int, most: int) -> str:
    """Return the text for a failed attempt: the reason, and after the last attempt how often it was tried again."""
    if attempt < most:
        return message
    return f"Job was reassigned too many ({attempt - 1}) times. Last failure message was: {message}"
