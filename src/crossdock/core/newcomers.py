"""Jobs that are being written for the first time: nobody may see them yet, but nobody may submit them twice either."""

from crossdock.core.jobs import Job


class Newcomers:
    """The ids and idempotency keys of jobs that are not on disk yet, also if their submitter has gone."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()
        self._keys: dict[tuple[str, str], int] = {}

    def reserve(self, job: Job) -> bool:
        """Take the key of a job; False if another one is being written under it."""
        if job.key is None:
            return True
        return self._keys.setdefault((job.tenant, job.key), job.id) == job.id

    def has_key(self, tenant: str, key: str) -> bool:
        """Tell whether a job is being written under a key."""
        return (tenant, key) in self._keys

    def leave(self, job: Job) -> None:
        """Let the store speak for a job from now on: it is on disk, or will never be."""
        self.jobs.discard(job.id)
        if job.key is not None and self._keys.get((job.tenant, job.key)) == job.id:
            del self._keys[job.tenant, job.key]
