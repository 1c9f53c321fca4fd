"""Members of an array per second: one submit, chunks leased and reported, every report on disk."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.child import Figures
from bench.embedded import KIND, WORKER, attach, open_broker
from crossdock.core.broker import Broker
from crossdock.core.jobs import ArraySpec, Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.requests import Submit

_SLOTS: Final = 4
_RESULTS: Final = {"null": b"null", "small": b'{"seconds":1234,"reached":true}'}


async def members(count: int, result: str) -> Figures:
    """Run an array of ``count`` members with four slots; ``result`` names what each member returns."""
    outcome = Outcome(kind=OutcomeKind.SUCCEEDED, result=_RESULTS[result])
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as place:
        async with open_broker(Path(place)) as broker:
            await attach(broker, _SLOTS)
            started, cpu = time.perf_counter(), time.process_time()
            array = ArraySpec(count=count)
            job = (await broker.intake.submit(Submit(kind=KIND, payload=b'{"width":200}', array=array))).job
            accepted = time.perf_counter() - started
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(_work(broker, outcome)) for _ in range(_SLOTS)]
                ended = await broker.intake.wait(job.id, 600.0)
                for worker in workers:
                    worker.cancel()
            seconds = time.perf_counter() - started
    if ended.tally is None or ended.tally.succeeded != count:
        raise RuntimeError(f"the array ended with {ended.tally}")
    return {
        "members_per_s": count / seconds,
        "cpu_us_per_member": (time.process_time() - cpu) / count * 1e6,
        "accepted_ms": accepted * 1e3,
    }


async def _work(broker: Broker, outcome: Outcome) -> None:
    """Be one slot: one chunk at a time."""
    while True:
        for lease in await broker.dispatch.claim(WORKER, 1, 1.0):
            await broker.dispatch.report_members(lease.token, _ends(lease, outcome))


def _ends(lease: Lease, outcome: Outcome) -> list[MemberOutcome]:
    if lease.members is None:
        raise RuntimeError("a chunk of an array has members")
    return [MemberOutcome(index=index, outcome=outcome) for index in lease.members.indexes]
