"""One runner behind several workers, each with slots of its own: whoever is slow fills only theirs."""

from crossdock.core.jobs import Lease, Outcome
from crossdock.core.ports import Attempt, Runner


class SharedRunner:
    """A runner that the first of its workers starts and the last one stops.

    Args:
        runner: what runs the leases of all of them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._workers = 0

    async def start(self) -> None:
        """Get ready to run, for one worker more."""
        self._workers += 1
        if self._workers == 1:
            await self._runner.start()

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run one attempt to its end."""
        return await self._runner.run(lease, attempt)

    async def stop(self) -> None:
        """Stop for one worker; for the last one everything ends."""
        self._workers -= 1
        if self._workers == 0:
            await self._runner.stop()
