"""`crossdock`, with one bug planted: `python planted.py BUG serve …`. The checker has to find each of them."""

import asyncio
import sys

from crossdock.cli import main
from crossdock.core import desk, dispatch, journal
from crossdock.core.jobs import OutcomeKind
from crossdock.core.lifecycle import Event


def acknowledge_early() -> None:
    """Answer a submit before it is on disk."""
    admit = journal.GroupCommit.admit

    async def early(self, admission, unmet):
        async def late():
            await asyncio.sleep(0.5)
            await admit(self, admission, unmet)

        self.late = getattr(self, "late", [])
        self.late.append(asyncio.create_task(late()))

    async def visible(self, job):
        for _ in range(100):
            if (snapshot := await self.newest(job)) is not None:
                return snapshot
            await asyncio.sleep(0.01)
        return await _visible(self, job)

    _visible = desk.Desk.visible
    desk.Desk.visible = visible
    journal.GroupCommit.admit = early


def no_fencing() -> None:
    """Let a report count whose lease has ended, also when another attempt has ended the job."""
    late = dispatch.BrokerDispatch._late

    async def unfenced(self, token, outcome):
        job_id = self._desk.leases.job_of(token)
        job = None if job_id is None else await self._desk.newest(job_id)
        if job is not None and outcome.kind is OutcomeKind.SUCCEEDED and job.terminal:
            now = self._desk.now()
            self._desk.scheduler.log(job, Event.SUCCEED.value, now, b"")
            self._desk.scheduler._write(
                __import__("msgspec").structs.replace(self._desk.scheduler.shelf.get(job.id), result=outcome.result),
                frozenset({job.state}),
            )
            return dispatch.Verdict(late=False, state=job.state)
        return await late(self, token, outcome)

    dispatch.BrokerDispatch._late = unfenced


def notify_early() -> None:
    """Show the end of a job, and tell of it, before it is on disk."""

    async def visible(self, job):
        snapshot = await self.newest(job)
        return snapshot if snapshot is not None else await _visible(self, job)

    async def slow_run(self):
        commit = self._store.commit

        async def slow(group):
            await asyncio.sleep(0.3)
            await commit(group)

        self._store.commit = slow
        await _run(self)

    _visible, _run = desk.Desk.visible, journal.GroupCommit.run
    desk.Desk.visible = visible
    journal.GroupCommit.run = slow_run


BUGS = {bug.__name__: bug for bug in (acknowledge_early, no_fencing, notify_early)}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    main()
