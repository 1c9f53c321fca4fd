"""The wire extension between our own workers and our broker, as frozen types.

A worker announces it by the key ``crossdock`` in the additional information of ``init``; its value is :class:`Hello` as
JSON. A broker that knows the extension answers :class:`Welcome`, any other one ignores the key. From then on the two ask
and answer with the command ``crossdock``: frames ``crossdock``, ticket, body. The verbs are those of the port ``Dispatch``,
and the two of ``Artifacts``; the core's own types travel as MessagePack, documents in them as bytes.

A ticket is a decimal number that the worker chooses; the answer carries the same. Ticket 0 asks for no answer.
"""

from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.jobs import ArtifactRef, Lease, MemberOutcome, Outcome
from crossdock.core.requests import Note, Renewal, Verdict

VERSION: Final = 1
PART: Final = 256 * 1024
"""The greatest part of an artifact in one message, in bytes."""
LARGEST: Final = 4 * 2**20
"""The greatest frame that the workers' door takes, in bytes."""
LONGEST_CLAIM: Final = 30.0
"""Seconds that a claim waits at most, whatever it asks for."""


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``init`` does not say of a worker of ours; hardware group and headers stand in ``init`` itself.

    ``worker`` names the worker over reconnections, ``tokens`` are leases it still holds. ``kinds`` are the kinds of jobs it
    runs.
    """

    worker: str
    slots: int = 1
    kinds: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    version: int = VERSION


# Worker to broker. The comment names the answer.


class Claim(Struct, frozen=True, tag="claim"):
    """Ask for up to ``limit`` leases, waiting at most ``wait`` seconds for the first. Answer: :class:`Grant`."""

    limit: int
    wait: float = 0.0


class Renew(Struct, frozen=True, tag="renew"):
    """Say that these leases are alive. Answer: :class:`Renewed`."""

    tokens: tuple[int, ...]


class Say(Struct, frozen=True, tag="say"):
    """Pass on what a running attempt says of itself. No answer."""

    token: int
    note: Note


class Report(Struct, frozen=True, tag="report"):
    """End an attempt. Answer: :class:`Judged`, once it is durable."""

    token: int
    outcome: Outcome


class ReportMembers(Struct, frozen=True, tag="members"):
    """Record outcomes of members of a leased chunk of an array. Answer: :class:`Judged`, once it is durable."""

    token: int
    outcomes: tuple[MemberOutcome, ...]


class Leave(Struct, frozen=True, tag="leave"):
    """Forget this worker; what it holds is handed back. Answer: :class:`Left`."""


class Fetch(Struct, frozen=True, tag="fetch"):
    """Ask for the bytes ``start`` to ``end`` (exclusive) of an artifact, at most :data:`PART`. Answer: :class:`Content`."""

    ref: ArtifactRef
    start: int
    end: int


class Put(Struct, frozen=True, tag="put"):
    """Send the next part of an artifact. ``upload`` is a number the worker chooses; ``last`` ends it.

    Answer: :class:`Stored`, without a reference before the last part. The next part is sent after the answer. Several
    uploads may be open at once.
    """

    upload: int
    data: bytes
    last: bool
    media_type: str = "application/json"


# Broker to worker


class Welcome(Struct, frozen=True, tag="welcome"):
    """The broker speaks the extension; which of the leases named in ``Hello`` are alive. Its ticket is 0."""

    renewal: Renewal
    version: int = VERSION


class Grant(Struct, frozen=True, tag="grant"):
    """Leases, payloads inline unless they are artifacts. There may be none."""

    leases: tuple[Lease, ...]


class Renewed(Struct, frozen=True, tag="renewed"):
    """Which leases are alive, and which of those should stop."""

    renewal: Renewal


class Judged(Struct, frozen=True, tag="judged"):
    """What became of a report."""

    verdict: Verdict


class Left(Struct, frozen=True, tag="left"):
    """The worker is forgotten."""


class Content(Struct, frozen=True, tag="content"):
    """Part of an artifact; shorter than asked for only at its end."""

    data: bytes


class Stored(Struct, frozen=True, tag="stored"):
    """The part is stored; after the last one the artifact is durable and this is its reference."""

    ref: ArtifactRef | None = None


class Refused(Struct, frozen=True, tag="refused"):
    """What was asked could not be done: the core's error code and its text. After ``not_found`` to a claim: say ``init``."""

    code: str
    message: str


Question = Claim | Renew | Say | Report | ReportMembers | Leave | Fetch | Put
Answer = Welcome | Grant | Renewed | Judged | Left | Content | Stored | Refused

_encode: Final = msgspec.msgpack.Encoder().encode
_questions: Final = msgspec.msgpack.Decoder(Question)
_answers: Final = msgspec.msgpack.Decoder(Answer)
_to_json: Final = msgspec.json.Encoder().encode
_hellos: Final = msgspec.json.Decoder(Hello)


def encode_body(message: Question | Answer) -> bytes:
    """Return the body of a message."""
    return _encode(message)


def decode_question(body: bytes) -> Question:
    """Return what a worker asks. Raises :class:`msgspec.DecodeError`."""
    return _questions.decode(body)


def decode_answer(body: bytes) -> Answer:
    """Return what the broker says. Raises :class:`msgspec.DecodeError`."""
    return _answers.decode(body)


def encode_hello(hello: Hello) -> str:
    """Return the value of the key ``crossdock`` in ``init``."""
    return _to_json(hello).decode()


def decode_hello(text: str) -> Hello:
    """Return what the value of the key ``crossdock`` says. Raises :class:`msgspec.DecodeError`."""
    return _hellos.decode(text)
