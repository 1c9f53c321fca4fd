"""Looking for jobs that may be gone."""

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job
from crossdock.core.ports import Intake


async def find_job(intake: Intake, job: int) -> Job | None:
    """Return a job as it is on disk, None if it is not there, or not any more. Other errors are raised."""
    try:
        return await intake.job(job)
    except CrossdockError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None
