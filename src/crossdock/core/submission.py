"""From a submit to a job: what is refused, and the first snapshot."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, Job
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides
from crossdock.core.requests import Submit
from crossdock.core.tables import decode_rows, member_payload, parameters

MAX_MEMBERS: Final = 100_000_000
_MAX_PRIORITY: Final = 1_000_000
_MAX_NAME: Final = 255
_MAX_WAIT: Final = 100 * 366 * 86400.0


def check_submit(request: Submit, kinds: Mapping[str, Kind]) -> Kind:
    """Refuse what cannot become a job; return its kind.

    Raises:
        CrossdockError: ``not_found`` for an unknown kind, else ``invalid``.
    """
    kind = kinds.get(request.kind)
    if kind is None:
        near = get_close_matches(request.kind, kinds, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CrossdockError(Code.NOT_FOUND, f"there is no kind of job named {request.kind[:80]!r}{hint}")
    _check_options(request)
    if request.array is not None:
        _check_array(request, request.array, kind)
    elif kind.check is not None and isinstance(request.payload, bytes):
        kind.check(request.payload)
    return kind


def new_job(request: Submit, job: int, wall: float, batch: int | None, *, waits: bool) -> Job:
    """Return the first snapshot of a job; ``waits`` says that it waits for other jobs."""
    due = request.not_before
    if request.delay is not None:
        due = max(due or 0.0, wall + request.delay)
    if due is not None and due <= wall:
        due = None
    return Job(
        id=job,
        kind=request.kind,
        payload=request.payload,
        created=wall,
        requirements=tuple(sorted(request.requirements)) if request.requirements else (),
        priority=request.priority,
        tenant=request.tenant,
        not_before=request.not_before,
        after=request.after,
        key=request.key,
        batch=batch,
        array=request.array,
        overrides=request.overrides,
        notify=request.notify,
        state=State.WAITING if waits or due is not None else State.READY,
        due=due,
    )


def _check_options(request: Submit) -> None:
    if not -_MAX_PRIORITY <= request.priority <= _MAX_PRIORITY:
        raise CrossdockError(Code.INVALID, f"the priority has to lie between -{_MAX_PRIORITY} and {_MAX_PRIORITY}")
    if len(request.tenant) > _MAX_NAME or (request.key is not None and not 0 < len(request.key) <= _MAX_NAME):
        raise CrossdockError(Code.INVALID, f"tenants and keys have at most {_MAX_NAME} characters, keys at least one")
    if request.delay is not None and not 0 <= request.delay <= _MAX_WAIT:
        raise CrossdockError(Code.INVALID, "the delay has to be a number of seconds from 0 to a hundred years")
    if request.not_before is not None and not 0 <= request.not_before <= 100 * _MAX_WAIT:
        raise CrossdockError(Code.INVALID, "not_before has to be a time after 1970")
    if request.overrides is not None:
        _check_overrides(request.overrides)


def _check_overrides(overrides: Overrides) -> None:
    if overrides.attempts is not None and overrides.attempts < 1:
        raise CrossdockError(Code.INVALID, "a job has at least one attempt")
    for name in ("timeout", "queue_timeout", "total_timeout", "keep"):
        seconds = getattr(overrides, name)
        if seconds is not None and not 0 <= seconds <= _MAX_WAIT:
            raise CrossdockError(Code.INVALID, f"{name} has to be a number of seconds from 0 to a hundred years")


def _check_array(request: Submit, spec: ArraySpec, kind: Kind) -> None:
    """Check a range by its two ends and a table by every row, each as a whole payload."""
    if not 0 < spec.count <= MAX_MEMBERS:
        raise CrossdockError(Code.INVALID, f"an array has between 1 and {MAX_MEMBERS} members, not {spec.count}")
    if spec.table is None:
        rows, samples = None, (0, spec.count - 1)
    elif isinstance(spec.table, bytes):
        rows, samples = decode_rows(spec.table), range(spec.count)
        if len(rows) != spec.count:
            raise CrossdockError(Code.INVALID, f"the table has {len(rows)} rows, but the array {spec.count} members")
    else:
        return
    for index in samples:
        payload = member_payload(request.payload, parameters(spec, rows, index))
        if kind.check is not None:
            try:
                kind.check(payload)
            except CrossdockError as error:
                raise CrossdockError(error.code, f"member {index}: {error.message}") from None
