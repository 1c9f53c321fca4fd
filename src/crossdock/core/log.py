"""The event log of a job: what its snapshot tells by itself is not written a second time.

Most jobs are submitted, leased once, and end. Their snapshot says when all that happened, so their log is made from it when
somebody reads it, and nothing of it is written. When anything else happens to a job, it is written as an entry, and with it
what the snapshot told until then. That a job was submitted its snapshot always tells.
"""

from typing import Final

import msgspec

from crossdock.core.jobs import Job
from crossdock.core.lifecycle import TERMINAL, Event
from crossdock.core.requests import Entry

_encode: Final = msgspec.json.Encoder().encode


def tells(job: Job) -> bool:
    """Tell whether a snapshot says all that has happened to its job."""
    events = job.events
    if events == 1:
        return True
    # One attempt is one lease. With two events that is all; with three there is an end too, if the job has ended.
    leased_once = job.attempt == 1 and job.worker is not None
    return leased_once and (events == 2 or (events == 3 and job.state in TERMINAL))  # noqa: PLR2004


def told(job: Job) -> list[Entry]:
    """Return the first entries of a job's log, as far as its snapshot tells them."""
    log = [Entry(job.id, 0, job.created, "submitted")]
    if not tells(job):
        return log
    if job.started is not None:
        log.append(Entry(job.id, 1, job.started, Event.LEASE.value, details(job, Event.LEASE)))
    if job.finished is not None:
        log.append(Entry(job.id, 2, job.finished, job.state.value, details(job, job.state)))
    return log


def continued(before: Job, entry: Entry) -> list[Entry]:
    """Return what to write when an entry is not told: first what the snapshot before it told, and the new one does not."""
    return [*told(before)[1:], entry]


def details(job: Job, event: str) -> bytes:
    """Return what the entry about a lease or an end says, from the snapshot after it; nothing about other events."""
    if event == Event.LEASE and job.worker is not None:
        return _encode({"attempt": job.attempt, "worker": job.worker})
    if event in TERMINAL and (job.code or job.message):
        return _encode({"code": job.code, "message": job.message})
    return b""


def whole(job: Job, written: list[Entry], start: int, limit: int) -> list[Entry]:
    """Return up to ``limit`` entries of a log from offset ``start`` on: those that were written, and those that are told."""
    first = written[0].offset if written else job.events
    return ([entry for entry in told(job) if start <= entry.offset < first] + written)[:limit]
