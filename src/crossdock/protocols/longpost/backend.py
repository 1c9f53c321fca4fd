"""Runs kinds of jobs on a remote LONGPOST endpoint: to a worker it is a runner, to the endpoint a client.

Execution is at least once. A task that runs remotely while this process is killed is not found again: its lease is lost,
the job is started anew, and the orphan ends unread.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, cast

from crossdock.core.jobs import Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.ports import Attempt
from crossdock.core.tables import member_payload
from crossdock.protocols.longpost.client import MAX_RESULT, AsyncLongpostClient
from crossdock.protocols.longpost.polling import Delays
from crossdock.protocols.longpost.remote import run_remotely

_CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, code="cancelled")


class LongpostRunner:
    """Implements :class:`~crossdock.core.ports.Runner` with hands that are somewhere else.

    Args:
        url: the endpoint.
        delays: the pauses between polls.
        headers: sent with every request.
        max_result: bytes that a result may have on its way.
    """

    def __init__(
        self,
        url: str,
        *,
        delays: Delays | None = None,
        headers: Mapping[str, str] | None = None,
        max_result: int = MAX_RESULT,
    ) -> None:
        self._client = AsyncLongpostClient(url, delays=delays, headers=headers, max_result=max_result)

    async def start(self) -> None:
        """There is nothing to get ready: connections are made when they are needed."""

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease, whose payload has to be loaded, to its end. Cancelling this stops the remote task."""
        payload = cast("bytes", lease.payload)
        if lease.members is None:
            return await self._run(payload, lease.timeout, attempt)
        for index, added in zip(lease.members.indexes, lease.members.parameters, strict=True):
            outcome = await self._run(member_payload(payload, added), lease.timeout, attempt)
            if outcome is _CANCELLED:
                return outcome
            await attempt.member(MemberOutcome(index=index, outcome=outcome))
        return Outcome(kind=OutcomeKind.SUCCEEDED)

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _run(self, payload: bytes, timeout: float | None, attempt: Attempt) -> Outcome:
        """Run one payload until it ends, or the attempt is asked to stop: then so is the remote task, at once."""
        work = asyncio.create_task(run_remotely(self._client, payload, timeout))
        asked = asyncio.create_task(attempt.wait_cancelled())
        try:
            await asyncio.wait((work, asked), return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else _CANCELLED
        finally:
            asked.cancel()
            work.cancel()
            await asyncio.wait((work,))
