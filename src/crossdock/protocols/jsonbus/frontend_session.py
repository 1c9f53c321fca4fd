"""What a node makes of what comes in: decisions only, no bus, no disk and no clock.

First :func:`judge` looks at the message alone. What can become a job is an :class:`Offer`, and :func:`decide` compares it
with what is known under the same client and request id.

    request, new                  a job is submitted, its end is the answer
    the same, it runs             nothing: the one answer comes, also to a new reply_to
    the same, it ended            the stored answer is sent again
    the same, failed by accident  a new job
    the same id, another content  answered with a failure
    a request nobody can carry out, or one of a circle of nodes: answered with a failure
    no sound request              answered with a failure if its sender is known, and always a dead letter
"""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Job, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.protocols.jsonbus.asker import Asker
from crossdock.protocols.jsonbus.hops import LIMIT
from crossdock.protocols.jsonbus.json_text import listed, read_members, string_in
from crossdock.protocols.jsonbus.messages import Message, Refused, Request
from crossdock.protocols.jsonbus.payloads import fingerprint, payload_of

SHARE: Final = "cacheKey"
"""The member of params with which clients say that they share an answer."""
CONFLICT: Final = "this id was used for another request; take a new one"

_ID: Final = 4096
"""Characters of the longest request id."""
_ACCIDENTS: Final = frozenset({OutcomeKind.ERRORED, OutcomeKind.LOST, OutcomeKind.TIMED_OUT})
_CIRCUMSTANCES: Final = frozenset({"queue_timeout", "total_timeout", "unroutable"})
"""Codes of failures that nobody's work led to."""
_PARENTS: Final = frozenset({"need_failed", "dependency_failed"})
"""Codes of failures that are those of other jobs."""

_encode: Final = msgspec.json.Encoder().encode


class Offer(Struct, frozen=True, gc=False, kw_only=True):
    """A request that can become a job. ``content`` tells it from others, ``shared`` says that clients share its answer."""

    asker: Asker
    kind: str
    payload: bytes
    content: str
    shared: bool = False
    hops: int = 0


class Refusal(Struct, frozen=True, gc=False):
    """A request that is answered with a failure; one that is not ``sound`` is a dead letter as well."""

    asker: Asker
    reason: str
    code: str
    sound: bool = True


class Burial(Struct, frozen=True, gc=False):
    """Something that nobody can be told about: a dead letter."""

    reason: str


class Known(Struct, frozen=True, gc=False):
    """What is remembered of a request: its job, its content, and a word that stands for where the answer goes."""

    job: int
    content: str
    address: str


class Step(StrEnum):
    """What to do about a request whose job is known."""

    RUN = "run"
    WAIT = "wait"
    REPEAT = "repeat"
    CONFLICT = "conflict"


def judge(message: Message | Refused, reply_to: str, hops: int, lists: frozenset[str]) -> Offer | Refusal | Burial:
    """Return what becomes of a message by itself.

    Args:
        message: what came.
        reply_to: the queue that its sender wants the answer in, empty for the usual one.
        hops: the nodes it says it has passed.
        lists: the subjects whose objects with the names 0, 1, 2 … become lists.
    """
    if isinstance(message, Refused):
        return _malformed(message, reply_to)
    if not isinstance(message, Request):
        return Burial(f"this is a {type(message).__name__.lower()}; only requests are taken here")
    asker = Asker(message.client_id, message.id, reply_to)
    try:
        _ = asker.route
    except CrossdockError as error:
        return Burial(f"nobody can be answered: {error.message}")
    if len(message.id) > _ID:
        return Burial(f"the id has more than {_ID} characters")
    if not message.id:
        return Refusal(asker, "the id is empty; an answer has to name its request", "invalid", sound=False)
    if hops > LIMIT:
        reason = f"the request has passed more than {LIMIT} nodes, which probably need each other's data in a circle"
        return Refusal(asker, reason, "circle")
    return _offer(message, asker, hops, lists)


def _malformed(message: Refused, reply_to: str) -> Refusal | Burial:
    if message.request_id is None or len(message.request_id) > _ID or (message.client_id is None and not reply_to):
        return Burial(message.reason)
    asker = Asker(message.client_id or "", message.request_id, reply_to)
    try:
        _ = asker.route
    except CrossdockError:
        return Burial(message.reason)
    return Refusal(asker, f"this is no sound request: {message.reason}", "invalid", sound=False)


def _offer(request: Request, asker: Asker, hops: int, lists: frozenset[str]) -> Offer:
    params, data = request.params, request.data
    if request.subject in lists:
        params, data = params and listed(params), data and listed(data)
        request = msgspec.structs.replace(request, params=params, data=data)
    content = fingerprint(request)
    shared = False
    if params is not None and SHARE.encode() in params and params.startswith(b"{"):
        params, shared = _without_share(params)
    payload = payload_of(params, data)
    return Offer(asker=asker, kind=request.subject, payload=payload, content=content, shared=shared, hops=hops)


def _without_share(params: bytes) -> tuple[bytes, bool]:
    """Return params without the member that is meant for the cache, if it is there and is a text."""
    members = read_members(params)
    wanted = string_in(members.get(SHARE))
    if wanted is None:
        return params, False
    del members[SHARE]
    return _encode(members), bool(wanted)


def decide(known: Known, job: Job, offer: Offer, *, accident: bool) -> Step:
    """Return what to do about a request whose id, or whose shared content, is known.

    ``accident`` says that the job failed, and might not if it were tried again.
    """
    if known.content != offer.content:
        return Step.CONFLICT
    if not job.terminal:
        return Step.WAIT
    return Step.RUN if accident else Step.REPEAT


def is_accident(job: Job) -> bool | None:
    """Tell whether a job failed in a way that it might not fail again; None if the jobs it came after have to be asked."""
    if job.state is not State.FAILED:
        return False
    if job.code in _PARENTS:
        return None
    return job.outcome in _ACCIDENTS or job.code in _CIRCUMSTANCES
