"""Jobs that workers still run, or have ended, from before a restart of the broker or a new connection."""

from msgspec import Struct

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import decode_id
from crossdock.core.jobs import Job, Lease
from crossdock.core.lifecycle import State
from crossdock.protocols.recodex.backend_effects import Running
from crossdock.protocols.recodex.translation import JOBS, PLAIN, read_known, work


class Inheritance(Struct, frozen=True):
    """The newest lease of an unfinished job that a plain worker was given.

    ``worker`` is None if the lease has ended. ``files`` is the lease for those who moved files for it, None if the job
    names its URLs itself.
    """

    worker: str | None
    running: Running
    files: Lease | None


async def find(broker: Broker, name: str) -> Inheritance | None:
    """Return what a job's worker may still have of it, None if it never was a plain worker's or has ended.

    Args:
        broker: has the job.
        name: the job's id as its worker knows it.
    """
    job = await _find_job(broker, name)
    if job is None or job.terminal or not job.token or not (job.worker or PLAIN).startswith(PLAIN):
        return None
    attempt, result = max(1, job.attempt), _result_url(job)
    return Inheritance(
        worker=job.worker if job.state is State.LEASED else None,
        running=Running(name, job.token, attempt, result),
        files=None
        if result
        else Lease(job=job.id, token=job.token, attempt=attempt, kind=job.kind, payload=job.payload, length=0.0),
    )


async def _find_job(broker: Broker, name: str) -> Job | None:
    try:
        record = await broker.records.get(JOBS, name)
        return await broker.intake.job(decode_id(name) if record is None else read_known(record.value).job)
    except CrossdockError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None


def _result_url(job: Job) -> str:
    try:
        return work(job.id, job.payload).result or "" if isinstance(job.payload, bytes) else ""
    except CrossdockError:
        return ""
