"""What can be set about json-bus."""

from collections.abc import Mapping

from msgspec import Struct

DAY = 86400.0
INLINE = 2**20
"""Bytes of a result above which a notification carries a reference."""


class NodeOptions(Struct, frozen=True, kw_only=True):
    """The table ``[jsonbus]`` as the frontend takes it.

    ``request_key`` is what clients publish requests under. Answers are kept for ``keep`` seconds. ``inline`` is the largest
    result in bytes that a notification carries itself. ``lists`` are the subjects whose params and data have objects with
    the names 0, 1, 2 … made lists again. ``prefetch`` is how many requests may be on their way to the disk.
    """

    node: str = "crossdock"
    request_key: str = "requests"
    keep: float = DAY
    inline: int = INLINE
    lists: frozenset[str] = frozenset()
    prefetch: int = 200
    delivery_limit: int = 10


class AskOptions(Struct, frozen=True, kw_only=True):
    """How other nodes are asked: under which key and with which subject each, by its name.

    ``lists`` are the nodes whose data have objects with the names 0, 1, 2 … made lists again. Data that an answer names by
    a URL may have ``largest`` bytes.
    """

    node: str = "crossdock"
    keys: Mapping[str, str] = {}
    subjects: Mapping[str, str] = {}
    prefetch: int = 200
    lists: frozenset[str] = frozenset()
    largest: int = 2**30


class BackendOptions(Struct, frozen=True, kw_only=True):
    """A table ``[backends.jsonbus.NAME]`` as the backend takes it.

    ``foreign`` workers consume the PHP library's queue, others are ours and consume a quorum queue. ``message`` says what
    they are sent. A job is pushed again when no result came within ``lease`` seconds.
    """

    name: str
    jobs_key: str
    results_key: str
    foreign: bool = True
    message: str = "job"
    lease: float = 600.0
    slots: int = 4
    lists: bool = False
