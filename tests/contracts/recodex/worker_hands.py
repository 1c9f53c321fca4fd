"""Workers whose hands a test moves: each attempt runs until it is let go, and is counted."""

import asyncio
import contextlib

import msgspec

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import MemberOutcome, Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Note, Step, WorkerInfo
from crossdock.protocols.recodex.worker import RecodexArtifacts, RecodexDispatch
from crossdock.protocols.recodex.worker_address import WorkerAddress
from crossdock.worker import Worker

KINDS = {name: Kind(name=name, runner="hands", raw=True, policy=Policy(lease=6.0)) for name in ("evaluation", "echo")}


class HandRunner:
    """Implements :class:`~crossdock.core.ports.Runner`: echoes payloads, as soon as it may."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.cancelled: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.begun = asyncio.Event()
        self.most = 0
        self._now = 0
        self.outcome: Outcome | None = None

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def run(self, lease, attempt) -> Outcome:
        payload = msgspec.json.decode(lease.payload)
        name = payload.get("job_id", lease.job) if isinstance(payload, dict) else lease.job
        self.runs.append(name)
        self._now += 1
        self.most = max(self.most, self._now)
        self.begun.set()
        attempt.note(Note(step=Step("DOWNLOADED")))
        asked = asyncio.create_task(attempt.wait_cancelled())
        free = asyncio.create_task(self.free.wait())
        try:
            await asyncio.wait((asked, free), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                self.cancelled.append(name)
                return Outcome(kind=OutcomeKind.CANCELLED)
            attempt.note(Note(step=Step("TASK", "compile", "COMPLETED")))
            if lease.members is not None:
                for index in lease.members.indexes:
                    outcome = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"%d" % (index * 10))
                    await attempt.member(MemberOutcome(index=index, outcome=outcome))
            return self.outcome or Outcome(kind=OutcomeKind.SUCCEEDED, result=lease.payload)
        finally:
            self._now -= 1
            asked.cancel()
            free.cancel()


class Crew:
    """A worker over a real socket, and its runner."""

    def __init__(self, port: int, name: str, *, slots: int = 1, kinds=("evaluation",), interval=0.1, **address) -> None:
        self.runner = HandRunner()
        offers = Capabilities(group="group1", values={"env": ("c",), "kind": tuple(kinds)})
        self.info = WorkerInfo(id=name, slots=slots, capabilities=offers, description=name)
        where = WorkerAddress(**{"endpoint": f"tcp://127.0.0.1:{port}", "ping_interval": interval, **address})
        self.said: list[str] = []
        self.dispatch = RecodexDispatch(where, say=self.said.append)
        self.artifacts = RecodexArtifacts(self.dispatch)
        known = {kind: KINDS[kind] for kind in kinds}
        self.worker = Worker(self.dispatch, self.artifacts, {"hands": self.runner}, known, self.info)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "Crew":
        self._task = asyncio.create_task(self.worker.run())
        return self

    async def kill(self) -> None:
        """End it as a kill -9 does: nothing is said, and the sockets are gone."""
        link, self.dispatch._link = self.dispatch._link, None
        if link is not None:
            link._dealer.close(0)
            link._stopped = True
            link._timer.cancel()
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, CrossdockError):
            await self._task
        if link is not None:
            await link._dealer.end()

    async def close(self) -> None:
        if self._task is not None and not self._task.done():
            self.worker.release()
            async with asyncio.timeout(20):
                await self._task
        await self.dispatch.detach(self.info.id)
