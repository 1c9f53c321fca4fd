"""Deletes jobs with all that hangs on them, inside a transaction that somebody else began and ends."""

from collections.abc import Sequence
from sqlite3 import Connection

from crossdock.core.jobs import Job
from crossdock.stores.sqlite.queries import QUERIES

_PARTS = (
    "delete_job",
    "delete_entries",
    "delete_segments",
    "delete_blocks",
    "delete_notifications",
    "delete_uses",
)


def sweep(db: Connection, jobs: Sequence[Job], wall: float) -> list[str]:
    """Delete ``jobs`` and the records that expired by ``wall``; return the digests that nothing refers to any more."""
    expired = db.execute(QUERIES["delete_expired_records"], (wall,)).fetchall()
    digests = {digest for (digest,) in expired if digest is not None}
    if jobs:
        digests |= _delete_jobs(db, jobs)
    return [digest for digest in sorted(digests) if db.execute(QUERIES["artifact_in_use"], (digest,)).fetchone() is None]


def _delete_jobs(db: Connection, jobs: Sequence[Job]) -> set[str]:
    """Delete jobs; return the digests they referred to."""
    ids = [(job.id,) for job in jobs]
    batches = {job.batch for job in jobs if job.batch is not None}
    digests = {digest for id_ in ids for (digest,) in db.execute(QUERIES["digests_of_job"], id_)}
    _remember_ids(db, max(max(ids)[0], *batches, 0))
    for query in _PARTS:
        db.executemany(QUERIES[query], ids)
    db.executemany(QUERIES["delete_empty_batch"], [(batch,) for batch in batches])
    return digests


def _remember_ids(db: Connection, last_job: int) -> None:
    """Keep the greatest ids before their rows go: an id that was used once is never issued again."""
    db.execute(QUERIES["remember_job"], (last_job,))
    db.execute(QUERIES["remember_notification"], db.execute(QUERIES["greatest_notification"]).fetchone())
