"""What workers and broker say to each other over HTTP: the port ``Dispatch``, one message per verb.

The core's own frozen types travel as JSON. Documents in them are base64 text, or an artifact reference.
"""

from typing import Annotated

from msgspec import Meta, Struct

from crossdock.core.jobs import Lease, MemberOutcome
from crossdock.core.requests import WorkerInfo

MAX_WAIT = 20.0
"""Seconds that one claim may wait: below the idle limits of the usual proxies."""


class Attach(Struct, frozen=True):
    """A worker introduces itself, with the leases it still holds."""

    worker: WorkerInfo
    tokens: list[int] = []


class Claim(Struct, frozen=True):
    """A worker with free slots asks for work."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0.0


class Claimed(Struct, frozen=True):
    """The leases it gets."""

    leases: list[Lease]


class Renew(Struct, frozen=True):
    """A heartbeat."""

    tokens: list[int]


class MemberReport(Struct, frozen=True):
    """Outcomes of members of a leased array chunk."""

    outcomes: list[MemberOutcome]
