"""Jobs and their parts as rows, and back. This is the hot path of a commit: plain tuples, no dictionaries.

Rare parts of a job (dependencies, array, overrides, subscribers) share one MessagePack column that is NULL for most jobs.
sqlite3 looks for an adapter, slowly, for every value that is not exactly an int, float, str or bytearray. So words of
enumerations are bound as exact ``str``, bytes as bytearrays, and statements for the usual case have constants for NULLs.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct, json, msgpack

from crossdock.core.changes import Pending
from crossdock.core.jobs import ArraySpec, ArtifactRef, Document, Job, OutcomeKind, Progress, Requirements, Subscriber, Tally
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides

Row = tuple[Any, ...]
"""A row as sqlite3 takes and gives it."""

STATES: Final = {state.value: state for state in State}
OUTCOMES: Final = {outcome.value: outcome for outcome in OutcomeKind}
NULL: Final = math.nan
"""SQLite has no NaN: it stores NULL instead, and documents that."""

word: Final[Callable[[Any], str]] = attrgetter("_value_")


class Options(Struct, frozen=True, array_like=True):
    """The rare parts of a job."""

    after: tuple[int, ...] = ()
    array: ArraySpec | None = None
    overrides: Overrides | None = None
    notify: tuple[Subscriber, ...] = ()
    needs: tuple[str, ...] = ()


_NO_OPTIONS: Final = Options()
_BLANK: Final = Job(id=0, kind="", payload=b"", created=0.0)
_rare_of_change: Final = attrgetter("due", "code", "message", "progress", "tally", "cancel_requested")
_CHANGED: Final = _rare_of_change(_BLANK)
_end: Final = attrgetter("finished", "expires", "outcome", "result")
_NO_END: Final = _end(_BLANK)
_PLAIN: Final = {"id", "kind", "payload", "created", "requirements", "priority", "tenant", "state"}
_rare_of_new: Final = attrgetter(*(name for name in Job.__struct_fields__ if name not in _PLAIN))
_NEW: Final = _rare_of_new(_BLANK)
_options: Final = msgpack.Decoder(Options).decode
_progress: Final = msgpack.Decoder(Progress).decode
_tally: Final = msgpack.Decoder(Tally).decode
_requirements: Final = json.Decoder(Requirements).decode


def pack(value: object) -> bytearray | float:
    """Return ``value`` as MessagePack, or NULL if it is empty."""
    return bytearray(msgpack.encode(value)) if value else NULL


def document_column(document: Document) -> bytearray | str:
    """Return a document as a column: bytes as they are, a reference as text."""
    if isinstance(document, ArtifactRef):
        return f"{document.digest} {document.size} {document.media_type}"
    return bytearray(document)


def document(column: bytes | str | None) -> Document | None:
    """Return the document in a column."""
    if isinstance(column, str):
        digest, size, media_type = column.split(" ", 2)
        return ArtifactRef(digest, int(size), media_type)
    return column


def job_row(job: Job) -> Row:
    """Return a new job in the order of ``job_columns``."""
    return (
        job.id,
        job.kind,
        document_column(job.payload),
        job.created,
        _requirements_column(job.requirements),
        job.priority,
        job.tenant,
        NULL if job.not_before is None else job.not_before,
        NULL if job.key is None else job.key,
        NULL if job.batch is None else job.batch,
        NULL if job.retry_of is None else job.retry_of,
        _options_column(job),
        *change_row(job)[:-1],
    )


def plain_row(job: Job) -> Row | None:
    """Return a new job in the order of ``insert_plain_job``, None if there is anything rare about it."""
    if _rare_of_new(job) != _NEW:
        return None
    return (
        job.id,
        job.kind,
        document_column(job.payload),
        job.created,
        _requirements_column(job.requirements),
        job.priority,
        job.tenant,
        word(job.state),
    )


def change(job: Job) -> tuple[str, Row]:
    """Return the query that writes what changed of a job with the fewest parameters, and its row."""
    if _rare_of_change(job) != _CHANGED or job.worker is None or job.started is None:
        return "update_job", change_row(job)
    begun = (word(job.state), job.attempt, job.token, job.worker, job.started, job.events)
    if _end(job) == _NO_END:
        return "update_begun_job", (*begun, job.id)
    if job.finished is None or job.expires is None or job.outcome is None or job.result is None:
        return "update_job", change_row(job)
    end = (job.finished, job.expires, word(job.outcome), document_column(job.result))
    return "update_ended_job", (*begun, *end, job.id)


def change_row(job: Job) -> Row:
    """Return what may have changed of a job, and its id, in the order of ``update_job``."""
    return (
        word(job.state),
        job.attempt,
        job.token,
        NULL if job.worker is None else job.worker,
        NULL if job.due is None else job.due,
        NULL if job.started is None else job.started,
        NULL if job.finished is None else job.finished,
        NULL if job.expires is None else job.expires,
        NULL if job.outcome is None else word(job.outcome),
        job.code,
        job.message,
        NULL if job.result is None else document_column(job.result),
        NULL if job.progress is None else pack(job.progress),
        NULL if job.tally is None else pack(job.tally),
        1 if job.cancel_requested else 0,
        job.events,
        job.id,
    )


def job(row: Row) -> Job:
    """Return the job in a row of ``job_columns``."""
    options = _NO_OPTIONS if row[11] is None else _options(row[11])
    payload = document(row[2])
    assert payload is not None  # noqa: S101 - the column is NOT NULL
    return Job(
        id=row[0],
        kind=row[1],
        payload=payload,
        created=row[3],
        requirements=_requirements_of(row[4]),
        priority=row[5],
        tenant=row[6],
        not_before=row[7],
        after=options.after,
        needs=options.needs,
        key=row[8],
        batch=row[9],
        retry_of=row[10],
        array=options.array,
        overrides=options.overrides,
        notify=options.notify,
        state=STATES[row[12]],
        attempt=row[13],
        token=row[14],
        worker=row[15],
        due=row[16],
        started=row[17],
        finished=row[18],
        expires=row[19],
        outcome=None if row[20] is None else OUTCOMES[row[20]],
        code=row[21],
        message=row[22],
        result=document(row[23]),
        progress=None if row[24] is None else _progress(row[24]),
        tally=None if row[25] is None else _tally(row[25]),
        cancel_requested=bool(row[26]),
        events=row[27],
    )


def pending(row: Row) -> Pending:
    """Return what a starting broker has to know of the job in a row of ``pending_columns``."""
    options = _NO_OPTIONS if row[8] is None else _options(row[8])
    limits = options.overrides
    return Pending(
        id=row[0],
        kind=row[1],
        state=STATES[row[2]],
        requirements=_requirements_of(row[3]),
        priority=row[4],
        tenant=row[5],
        created=row[6],
        due=row[7],
        queue_timeout=limits.queue_timeout if limits else None,
        total_timeout=limits.total_timeout if limits else None,
        special=options.array is not None or bool(options.after) or row[2] == "leased",
    )


def _options_column(job: Job) -> bytearray | float:
    if job.after or job.notify or job.array is not None or job.overrides is not None or job.needs:
        return bytearray(msgpack.encode(Options(job.after, job.array, job.overrides, job.notify, job.needs)))
    return NULL


@lru_cache(maxsize=4096)
def _requirements_column(requirements: Requirements) -> str | float:
    return json.encode(requirements).decode() if requirements else NULL


@lru_cache(maxsize=4096)
def _requirements_of(column: str | None) -> Requirements:
    return _requirements(column) if column else ()
