"""Data that a kind of job needs of other kinds: what has to be done for it, and the payload that is complete with it.

A kind names the members of its payload that are results of other kinds. A job of it is admitted together with one job for
each of them (``families.py``), comes after those, and gets their results put into its payload when it runs.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, cast

import msgspec
from msgspec import Raw

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Document, Job
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.requests import Submit

_NULL: Final = b"null"
_REASON: Final = 500
_MANY: Final = 5

_object: Final = msgspec.json.Decoder(dict[str, Raw])
_encode: Final = msgspec.json.Encoder().encode


# What kinds there are


def refuse_circles(kinds: Mapping[str, Kind]) -> None:
    """Refuse kinds that need each other in a circle: none of them could ever begin.

    Raises:
        CrossdockError: ``invalid``, naming the circle.
    """
    sound: set[str] = set()
    for name in kinds:
        _follow(name, kinds, (), sound)


def _follow(name: str, kinds: Mapping[str, Kind], path: tuple[str, ...], sound: set[str]) -> None:
    if name in path:
        circle = " needs ".join(repr(step) for step in (*path[path.index(name) :], name))
        raise CrossdockError(Code.INVALID, f"{circle}: in a circle nobody can begin; take one of these needs away")
    kind = kinds.get(name)
    if kind is None or name in sound:
        return
    for needed in kind.needs.values():
        _follow(needed, kinds, (*path, name), sound)
    sound.add(name)


def missing_needs(kinds: Mapping[str, Kind]) -> dict[str, tuple[str, ...]]:
    """Return the kinds that are needed and not there, each with the names of those that need it."""
    missing: dict[str, tuple[str, ...]] = {}
    for kind in kinds.values():
        for needed in dict.fromkeys(kind.needs.values()):
            if needed not in kinds:
                missing[needed] = (*missing.get(needed, ()), kind.name)
    return missing


def refuse_missing(kinds: Mapping[str, Kind]) -> None:
    """Refuse kinds that need others which nobody provides.

    Raises:
        CrossdockError: ``invalid``, naming the first and what can be done.
    """
    for needed, users in missing_needs(kinds).items():
        text = f"{', '.join(map(repr, users))} needs {needed!r}, which is no kind of job here: write a function or a backend"
        raise CrossdockError(
            Code.INVALID, f"{text} of that name, or configure [jsonbus] if it is a node on a RabbitMQ of yours"
        )


# What is submitted for them


def needed(request: Submit, kind: str, payload: bytes) -> Submit:
    """Return the submit of a job that another one needs, which begins when that one would and counts as much."""
    return Submit(
        kind=kind,
        payload=payload,
        priority=request.priority,
        tenant=request.tenant,
        not_before=request.not_before,
        delay=request.delay,
    )


def share(payload: bytes, kind: Kind) -> bytes:
    """Return what of a payload concerns a needed kind: the members it knows, or everything if it takes any."""
    if kind.raw or kind.inputs.get("additionalProperties") is not False:
        return payload
    try:
        members = _object.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload
    known = cast("Mapping[str, object]", kind.inputs.get("properties", {}))
    return _encode({name: text for name, text in members.items() if name in known})


# What became of them


def needed_jobs(job: Job) -> dict[int, str]:
    """Return the jobs that a job needs, each with the member that its result becomes."""
    return dict(zip(job.after[_own(job) :], job.needs, strict=True))


def own_parents(job: Job) -> tuple[int, ...]:
    """Return the jobs that whoever submitted a job wanted it to come after."""
    return job.after[: _own(job)]


def _own(job: Job) -> int:
    return len(job.after) - len(job.needs)


def inputs_of(job: Job, results: Mapping[int, Document | None]) -> tuple[Document | None, ...]:
    """Return the results of the jobs that a job comes after. Of a needed one that is gone it is None, never of another."""
    own = tuple(map(results.get, own_parents(job)))
    if not job.needs:
        return own
    needed = (results[parent] or _NULL if parent in results else None for parent in job.after[_own(job) :])
    return (*own, *needed)


def complete(payload: bytes, members: Iterable[str], results: Iterable[Document | None]) -> bytes:
    """Return a payload with the results of what it needs put in, every other member as it is written.

    Args:
        payload: JSON text of an object.
        members: the names of the members.
        results: their texts, in the same order.

    Raises:
        CrossdockError: ``invalid`` if the payload is no object, ``not_found`` if a result is not kept any more.
    """
    try:
        whole = _object.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = f"the payload has to be a JSON object, as {', '.join(members)} is put into it"
        raise CrossdockError(Code.INVALID, text) from None
    for member, result in zip(members, results, strict=True):
        if not isinstance(result, bytes):
            text = f"the job that made {member!r} is not kept any more; retry this job to have it made again"
            raise CrossdockError(Code.NOT_FOUND, text)
        whole[member] = Raw(result)
    return _encode(whole)


def failure(job: Job, parent: Job | None) -> tuple[str, str]:
    """Return the code and the message with which a job fails because one that it comes after did not succeed."""
    if parent is None:
        return "dependency_failed", "a job that this one waited for did not succeed"
    ended = "was cancelled" if parent.state is State.CANCELLED else "failed"
    reason = parent.message or parent.code
    text = _shortened(f"the job {encode_id(parent.id)} of {parent.kind!r} {ended}{f': {reason}' if reason else ''}")
    member = needed_jobs(job).get(parent.id)
    if member is None:
        return "dependency_failed", f"this job waited for another one, but {text}"
    return "need_failed", f"{member!r} cannot be had: {text}"


def _shortened(text: str) -> str:
    """Return a text that is not too long. Its middle goes: down a chain of needs, what went wrong stands at the end."""
    return text if len(text) <= _REASON else f"{text[: _REASON // 3]} … {text[-_REASON * 2 // 3 :]}"


def waiting_for(job: Job, unmet: Collection[int], kind: Kind | None) -> str:
    """Say what a job waits for, of the jobs that it comes after.

    Args:
        job: the job.
        unmet: the ids of those that have not ended.
        kind: the job's kind, if it is still there.
    """
    needed = needed_jobs(job)
    texts = [_awaited(parent, needed.get(parent), kind) for parent in sorted(unmet)]
    if len(texts) > _MANY:
        return f"it waits for {len(texts)} other jobs to succeed"
    return f"it waits for {' and for '.join(texts)}"


def _awaited(parent: int, member: str | None, kind: Kind | None) -> str:
    if member is None:
        return f"the job {encode_id(parent)} to succeed"
    maker = kind.needs.get(member) if kind is not None else None
    return f"{member!r} of {maker!r} (job {encode_id(parent)})" if maker else f"{member!r} (job {encode_id(parent)})"
