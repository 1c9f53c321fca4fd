"""From a lease to an outcome, whatever the runner does."""

import asyncio
from collections.abc import Mapping
from typing import Final, cast

import structlog
from msgspec.structs import replace

from crossdock.core.documents import load
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.needs import complete
from crossdock.core.ports import Artifacts, Runner
from crossdock.worker.holding import Holding

_log: Final = structlog.get_logger("crossdock.worker")


class Attempts:
    """Runs leases with the runners that their kinds name."""

    def __init__(self, artifacts: Artifacts, runners: Mapping[str, Runner], kinds: Mapping[str, Kind]) -> None:
        self._artifacts = artifacts
        self._runners = runners
        self._kinds = kinds

    async def outcome(self, holding: Holding) -> Outcome | None:
        """Run an attempt in the current task; None says that nothing is to be reported."""
        try:
            return await self._run(holding)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not holding.killed or task is None or task.uncancel():
                raise
            return holding.fate
        except CrossdockError as error:
            return _errored(error.code, error.message)
        except Exception:  # noqa: BLE001 - what a runner does wrong costs one attempt, not the worker
            _log.exception("a runner failed", job=holding.lease.job, kind=holding.lease.kind)
            return _errored("internal", "the runner failed; the worker's log has the reason")

    async def _run(self, holding: Holding) -> Outcome:
        lease = await self._loaded(holding.lease)
        kind = self._kinds.get(lease.kind)
        if kind is None:
            return _errored("unknown_kind", f"this worker has no kind {lease.kind!r}")
        if lease.needs:
            try:
                lease = _completed(lease)
            except CrossdockError as error:
                return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
        if lease.timeout is None and kind.policy.timeout is not None:
            # A broker that knows nothing of our kinds says nothing of their limits.
            lease = replace(lease, timeout=kind.policy.timeout)
        return await self._runners[kind.runner].run(lease, holding)

    async def _loaded(self, lease: Lease) -> Lease:
        """Return the lease with its documents in memory, as runners want it."""
        if isinstance(lease.payload, bytes) and not lease.inputs:
            return lease
        inputs = [None if item is None else await load(self._artifacts, item) for item in lease.inputs]
        return replace(lease, payload=await load(self._artifacts, lease.payload), inputs=tuple(inputs))


def _completed(lease: Lease) -> Lease:
    """Return a lease whose payload has what it needs of other jobs, which are among its inputs no more."""
    own = len(lease.inputs) - len(lease.needs)
    payload = complete(cast("bytes", lease.payload), lease.needs, lease.inputs[own:])
    return replace(lease, payload=payload, inputs=lease.inputs[:own], needs=())


def _errored(code: str, message: str) -> Outcome:
    return Outcome(kind=OutcomeKind.ERRORED, code=code, message=message)
