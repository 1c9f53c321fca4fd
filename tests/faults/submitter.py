"""Submits and runs jobs in an embedded broker and prints each id once it is acknowledged: `python submitter.py DIRECTORY`.

Ends with status 3 when the broker says that the process has to end, as `crossdock serve` does.
"""

import asyncio
import sys
import time
from pathlib import Path

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.requests import Capabilities, Submit, WorkerInfo
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

JOBS = 30
FATAL = 3


class SystemClock:
    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def broker_in(directory: Path) -> Broker:
    """Return a broker whose data lies in a directory."""
    return Broker(
        store=SqliteStore(directory / "crossdock.sqlite"),
        artifacts=file_artifacts(directory / "artifacts"),
        signals=LocalSignals(),
        clock=SystemClock(),
        kinds={"echo": Kind(name="echo")},
    )


async def submit_and_run(directory: Path) -> int:
    try:
        broker = broker_in(directory)
        await broker.open()
    except CrossdockError as error:
        print(f"refused {error.code}", flush=True)
        return FATAL
    await broker.dispatch.attach(WorkerInfo(id="w", capabilities=Capabilities(values={"kind": ("echo",)})))
    for number in range(JOBS):
        try:
            made = await broker.intake.submit(Submit(kind="echo", payload=b"%d" % number, key=str(number)))
            print(f"accepted {number} {made.job.id}", flush=True)
            for lease in await broker.dispatch.claim("w", 10):
                await broker.dispatch.report(lease.token, Outcome(kind=OutcomeKind.SUCCEEDED, result=lease.payload))
                print(f"finished {lease.job} {lease.payload.decode()}", flush=True)
        except CrossdockError as error:
            print(f"refused {number} {error.code}", flush=True)
    try:
        await asyncio.wait_for(broker.failed(), 0.05)
    except TimeoutError:
        await broker.close()
        return 0
    return FATAL


if __name__ == "__main__":
    sys.exit(asyncio.run(submit_and_run(Path(sys.argv[1]))))
