"""How many nodes a request has passed on its way: the header ``x-hops``, and its memory between a job and its needs.

A node that needs data of another one sends ``x-hops`` one higher than it got it. Nodes that need each other in a circle
would ask for ever; past the limit a request is answered with a failure. PHP nodes drop the header: then only the deadline
of waiting ends the circle.
"""

from collections.abc import Mapping
from typing import Final

from crossdock.core.ports import Records
from crossdock.core.requests import Record

HEADER: Final = "x-hops"
LIMIT: Final = 16
"""Hops above which a request is taken for one of a circle."""
SPACE: Final = "jsonbus.hops"
_MOST: Final = 1_000_000


def from_headers(headers: Mapping[str, object]) -> int:
    """Return the hops that a message says it has behind it, 0 if it says nothing sensible."""
    value = headers.get(HEADER, 0)
    if isinstance(value, str):  # some send the names of the nodes
        return len(value.split(",")) if value else 0
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return max(0, min(value, _MOST))


def keep(hops: int, expires: float) -> tuple[Record, ...]:
    """Return what a submit has to store for a job of a request with hops behind it; nothing for a client's own request.

    ``expires`` is in seconds since 1970. The empty key of a record stands for the id of the job.
    """
    return (Record(SPACE, "", b"%d" % hops, expires),) if hops else ()


async def read(records: Records, job: int) -> int:
    """Return the hops of the request that a job was made for, 0 for a job that did not come from another node."""
    record = await records.get(SPACE, str(job))
    return 0 if record is None else int(record.value)
