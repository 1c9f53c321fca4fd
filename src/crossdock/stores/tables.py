"""The contents of a memory store, and how a group of changes becomes part of them: checked whole, then applied."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from msgspec.structs import replace

from crossdock.core.changes import Admission, Block, Group, Segment
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job, Tally
from crossdock.core.requests import Entry, Notification, Record
from crossdock.stores.references import block_digests, job_digests


class Tables:
    """Everything a memory store knows, by the keys it is asked for."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.batches: dict[int, Tally] = {}
        self.batch_jobs: defaultdict[int, set[int]] = defaultdict(set)
        self.entries: defaultdict[int, dict[int, Entry]] = defaultdict(dict)
        self.segments: defaultdict[int, dict[int, Segment]] = defaultdict(dict)
        self.blocks: defaultdict[int, list[Block]] = defaultdict(list)
        self.notifications: dict[int, Notification] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.uses: defaultdict[str, set[int]] = defaultdict(set)
        self.last_job = 0
        self.last_notification = 0


def check(tables: Tables, group: Group) -> None:
    """Raise ``conflict`` if a part of the group cannot be applied, before any part is."""
    admitted: dict[int, Job] = {}
    keys: set[tuple[str, str]] = set()
    for job in chain.from_iterable(admission.jobs for admission in group.admissions):
        key = None if job.key is None else (job.tenant, job.key)
        if job.id in tables.jobs or job.id in admitted or key in tables.keys or key in keys:
            raise CrossdockError(Code.CONFLICT, f"job {job.id} or its idempotency key exists already")
        admitted[job.id] = job
        if key is not None:
            keys.add(key)
    for job_id, transition in group.transitions.items():
        job = admitted.get(job_id) or tables.jobs.get(job_id)
        if job is None or job.state not in transition.sources:
            raise CrossdockError(Code.CONFLICT, f"job {job_id} is not in a state that allows this change")
    _check_entries(tables, group.entries)


def _check_entries(tables: Tables, entries: Iterable[Entry]) -> None:
    seen: set[tuple[int, int]] = set()
    for entry in entries:
        place = (entry.job, entry.offset)
        if place in seen or entry.offset in tables.entries.get(entry.job, ()):
            raise CrossdockError(Code.CONFLICT, f"job {entry.job} has a log entry at offset {entry.offset} already")
        seen.add(place)


def apply(tables: Tables, group: Group) -> None:
    """Apply a group that was checked."""
    for admission in group.admissions:
        _admit(tables, admission)
    for job_id, transition in group.transitions.items():
        tables.jobs[job_id] = transition.job
        _use(tables, job_id, job_digests(transition.job))
    for entry in group.entries:
        tables.entries[entry.job][entry.offset] = entry
    for batch, more in group.tallies.items():
        if batch in tables.batches:
            tables.batches[batch] = _sum(tables.batches[batch], more)
    _apply_notifications(tables, group)
    _apply_records(tables, group)
    for (job_id, number), segment in group.segments.items():
        tables.segments[job_id][number] = own(segment)
    for block in group.blocks:
        tables.blocks[block.job].append(block)
        _use(tables, block.job, block_digests(block))


def _admit(tables: Tables, admission: Admission) -> None:
    if admission.batch is not None:
        batch, _tenant, size = admission.batch
        tables.batches[batch] = Tally(total=size)
        tables.last_job = max(tables.last_job, batch)
    for job in admission.jobs:
        tables.jobs[job.id] = job
        tables.last_job = max(tables.last_job, job.id)
        if job.key is not None:
            tables.keys[job.tenant, job.key] = job.id
        if job.batch is not None:
            tables.batch_jobs[job.batch].add(job.id)
        _use(tables, job.id, job_digests(job))
    for record in admission.records:
        tables.records[record.space, record.key] = record


def _use(tables: Tables, job: int, digests: Iterable[str]) -> None:
    for digest in digests:
        tables.uses[digest].add(job)


def _apply_notifications(tables: Tables, group: Group) -> None:
    tables.notifications.update(group.notifications)
    tables.last_notification = max((tables.last_notification, *group.notifications))
    for id_ in group.delivered:
        tables.notifications.pop(id_, None)


def _apply_records(tables: Tables, group: Group) -> None:
    for place, record in group.records.items():
        if record is None:
            tables.records.pop(place, None)
        else:
            tables.records[place] = record


def delete(tables: Tables, job_id: int) -> list[str]:
    """Delete one job with all that hangs on it; return the digests it used and nobody else does."""
    job = tables.jobs.pop(job_id, None)
    if job is None:
        return []
    if job.key is not None:
        del tables.keys[job.tenant, job.key]
    if job.batch is not None:
        _leave_batch(tables, job.batch, job_id)
    for table in (tables.entries, tables.segments, tables.blocks):
        table.pop(job_id, None)
    for id_ in [id_ for id_, owed in tables.notifications.items() if owed.job == job_id]:
        del tables.notifications[id_]
    return _unuse(tables, job_id)


def _leave_batch(tables: Tables, batch: int, job_id: int) -> None:
    siblings = tables.batch_jobs[batch]
    siblings.discard(job_id)
    if not siblings:
        del tables.batch_jobs[batch]
        tables.batches.pop(batch, None)


def _unuse(tables: Tables, job_id: int) -> list[str]:
    used = [digest for digest, users in tables.uses.items() if job_id in users]
    for digest in used:
        tables.uses[digest].discard(job_id)
    unused = [digest for digest in used if not tables.uses[digest]]
    for digest in unused:
        del tables.uses[digest]
    return unused


def own(segment: Segment) -> Segment:
    """Copy the one part of a segment that could be changed by somebody else."""
    return replace(segment, attempts=dict(segment.attempts))


def _sum(tally: Tally, more: Tally) -> Tally:
    return Tally(*(getattr(tally, name) + getattr(more, name) for name in Tally.__struct_fields__))
