"""The client for asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Unpack

import httpx

from crossdock.core.errors import CrossdockError
from crossdock.protocols.ogc import calls
from crossdock.protocols.ogc.async_connection import AsyncConnection
from crossdock.protocols.ogc.calls import EventReader, Options
from crossdock.protocols.ogc.client import DEFAULT_URL, RECONNECT, TIMEOUT, persist
from crossdock.protocols.ogc.messages import BatchInfo, LogEntry, MemberInfo, ProcessSummary, StatusInfo, WorkerDocument


class AsyncClient(AsyncConnection):
    """Submits jobs and looks after them. Every method raises :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__(url, key, timeout)
        self._raw: dict[str, bool] = {}

    async def processes(self) -> list[ProcessSummary]:
        """Return what can be run."""
        return (await self.send(calls.processes())).processes

    async def submit(self, kind: str, params: object = None, **options: Unpack[Options]) -> StatusInfo:
        """Submit a job; it is on the server's disk on return. ``params`` are its inputs, or any value for raw kinds."""
        return await self.send(calls.submit(kind, params, options, raw=await self._is_raw(kind)))

    async def submit_array(
        self, kind: str, array: Mapping[str, object], params: object = None, **options: Unpack[Options]
    ) -> StatusInfo:
        """Submit one job with many members: ``array`` has ``stop`` (and ``start``, ``step``, ``as``), or a ``table``."""
        return await self.send(calls.submit(kind, params, options, raw=await self._is_raw(kind), array=array))

    async def submit_batch(self, jobs: Iterable[tuple[str, object, Options]]) -> BatchInfo:
        """Submit jobs (kind, parameters, options) in one transaction: all or none."""
        listed = list(jobs)
        raw = {kind: await self._is_raw(kind) for kind in {kind for kind, _, _ in listed}}
        return await self.send(calls.submit_batch(listed, raw))

    async def job(self, identifier: str) -> StatusInfo:
        """Return how far a job is."""
        return await self.send(calls.job(identifier))

    async def jobs(self, limit: int = 100, **query: object) -> list[StatusInfo]:
        """Return up to ``limit`` jobs, newest first; ``query`` has the parameters of ``/jobs``, like ``status``."""
        page = await self.send(calls.jobs({**query, "limit": min(limit, 1000)}))
        found = page.jobs
        while len(found) < limit and (url := calls.next_page(page)) is not None:
            page = await self.send(calls.page(url))
            found = found + page.jobs
        return found[:limit]

    async def members(self, identifier: str, state: str | None = None) -> list[MemberInfo]:
        """Return the finished members of an array, optionally those in one state."""
        return (await self.send(calls.members(identifier, state))).members

    async def watch(
        self, identifier: str, patience: float = 60.0, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[LogEntry]:
        """Yield a job's log as it grows, until the job has ended.

        A connection that breaks is taken up where it broke off; ``patience`` is how long (seconds) the server may be away.
        """
        reader = EventReader()
        failing_since: float | None = None
        while not reader.ended:
            try:
                async for entry in self.stream(calls.events_path(identifier), reader):
                    failing_since = None
                    yield entry
            except (httpx.HTTPError, CrossdockError) as error:
                failing_since = failing_since or time.monotonic()
                persist(self.url, error, time.monotonic() - failing_since, patience)
                reader.broken()
            if not reader.ended:
                await pause(RECONNECT)

    async def result(self, identifier: str) -> object:
        """Return the value a job gave; of an array, the list of its members' values.

        Raises:
            JobFailedError: the job has failed.
        """
        return (await self.send(calls.result(identifier))).result

    async def cancel(self, identifier: str, mode: str = "cooperative") -> StatusInfo:
        """Cancel a job: ask it to stop, then kill it after its grace period; at once with ``mode="hard"``."""
        return await self.send(calls.cancel(identifier, mode))

    async def retry(self, identifier: str) -> StatusInfo:
        """Run a failed or cancelled job again, as a new job."""
        return await self.send(calls.retry(identifier))

    async def workers(self) -> list[WorkerDocument]:
        """Return the attached workers."""
        return (await self.send(calls.workers())).workers

    async def drain(self, worker: str) -> None:
        """Give a worker no more work."""
        await self.send(calls.drain(worker))

    async def _is_raw(self, kind: str) -> bool:
        if kind not in self._raw:
            self._raw[kind] = (await self.send(calls.process(kind))).crossdock.raw
        return self._raw[kind]
