"""Applies a group of changes inside a transaction that somebody else began and ends."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from sqlite3 import Connection

from crossdock.core.changes import Admission, Group, Transition
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.lifecycle import State
from crossdock.stores.references import block_digests, document_digests, job_digests
from crossdock.stores.sqlite.parts import block_row, entry_row, notification_row, record_row, segment_row
from crossdock.stores.sqlite.queries import QUERIES
from crossdock.stores.sqlite.rows import Row, change, job_row, plain_row, word


def write(db: Connection, group: Group) -> None:
    """Apply a group.

    Raises:
        CrossdockError: ``conflict`` if a job was not in a state its transition allows.
        sqlite3.Error: whatever SQLite says.
    """
    if group.admissions:
        _admit(db, group.admissions)
    if group.transitions:
        _transit(db, group.transitions.values())
    _many(db, "insert_entry", [entry_row(entry) for entry in group.entries])
    tallies = group.tallies.items()
    _many(db, "add_to_batch", [(t.total, t.succeeded, t.failed, t.cancelled, batch) for batch, t in tallies])
    _notify(db, group)
    _record(db, group)
    _many(db, "put_segment", [segment_row(segment) for segment in group.segments.values()])
    _many(db, "insert_block", [block_row(block) for block in group.blocks])
    _many(db, "use_artifact", [(digest, block.job) for block in group.blocks for digest in block_digests(block)])


def _many(db: Connection, query: str, rows: Sequence[Row]) -> None:
    if rows:
        db.executemany(QUERIES[query], rows)


def _admit(db: Connection, admissions: Sequence[Admission]) -> None:
    """Insert new jobs, those of all admissions in one statement: most admissions are a single job."""
    jobs = [job for admission in admissions for job in admission.jobs]
    plain = [plain_row(job) for job in jobs]
    _many(db, "insert_plain_job", [row for row in plain if row is not None])
    _many(db, "insert_job", [job_row(job) for job, row in zip(jobs, plain, strict=True) if row is None])
    _many(db, "put_record", [record_row(record) for admission in admissions for record in admission.records])
    _many(db, "use_artifact", [(digest, job.id) for job in jobs for digest in job_digests(job)])
    _many(db, "insert_batch", [admission.batch for admission in admissions if admission.batch is not None])


def _transit(db: Connection, transitions: Iterable[Transition]) -> None:
    """Update jobs, all those that are alike in one statement; every single one has to hit its row."""
    groups: defaultdict[tuple[str, frozenset[State]], list[Row]] = defaultdict(list)
    uses: list[Row] = []
    for transition in transitions:
        job = transition.job
        query, row = change(job)
        groups[query, transition.sources].append(row)
        if job.result is not None:
            uses += [(digest, job.id) for digest in document_digests(job.result)]
    for (query, sources), rows in groups.items():
        if db.executemany(_update(query, sources), rows).rowcount != len(rows):
            raise CrossdockError(Code.CONFLICT, "a job is not in a state that allows this change")
    _many(db, "use_artifact", uses)


@lru_cache(maxsize=256)
def _update(query: str, sources: frozenset[State]) -> str:
    """Return the guarded update. Equalities, because SQLite builds a table for every IN of more than two words."""
    allowed = " OR ".join(f"state = '{state}'" for state in sorted(map(word, sources))) or "FALSE"
    return QUERIES[query].replace("{allowed}", allowed)


def _notify(db: Connection, group: Group) -> None:
    _many(db, "put_notification", [notification_row(owed) for owed in group.notifications.values()])
    if group.delivered:
        _many(db, "delete_notification", [(id_,) for id_ in group.delivered])
        db.execute(QUERIES["remember_notification"], (max(group.delivered),))


def _record(db: Connection, group: Group) -> None:
    if group.records:
        _many(db, "put_record", [record_row(record) for record in group.records.values() if record is not None])
        _many(db, "delete_record", [place for place, record in group.records.items() if record is None])
