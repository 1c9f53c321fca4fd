"""Jobs that are being written for the first time: nobody may see them yet, but nobody may submit them twice either."""

from typing import Final

from crossdock.core.jobs import Job

_NOBODY: Final = 0


class Newcomers:
    """The ids and idempotency keys of jobs that are not on disk yet, also if their submitter has gone."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()
        self._keys: dict[tuple[str, str], int] = {}

    def reserve(self, tenant: str, key: str) -> bool:
        """Take a key for a job that is still to be made; False if it is taken."""
        if (tenant, key) in self._keys:
            return False
        self._keys[tenant, key] = _NOBODY
        return True

    def bind(self, job: Job) -> None:
        """Say which job the key was taken for."""
        if job.key is not None:
            self._keys[job.tenant, job.key] = job.id

    def release(self, tenant: str, key: str) -> None:
        """Give back a key for which no job was made."""
        if self._keys.get((tenant, key)) == _NOBODY:
            del self._keys[tenant, key]

    def has_key(self, tenant: str, key: str) -> bool:
        """Tell whether a job is being written under a key."""
        return (tenant, key) in self._keys

    def leave(self, job: Job) -> None:
        """Let the store speak for a job from now on: it is on disk, or will never be."""
        self.jobs.discard(job.id)
        if job.key is not None and self._keys.get((job.tenant, job.key)) == job.id:
            del self._keys[job.tenant, job.key]
