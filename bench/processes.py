"""What the process runner adds to a job: a warm child that returns its payload."""

import asyncio
import time
from pathlib import Path

from bench.child import Figures
from bench.child_app import app
from crossdock.artifacts.files import file_artifacts
from crossdock.core.jobs import Lease, MemberOutcome, OutcomeKind
from crossdock.core.requests import Note
from crossdock.runners.function import FunctionRunner


class _Attempt:
    """An attempt that nobody watches or cancels."""

    cancelled = False

    def note(self, note: Note) -> None:
        del note

    async def wait_cancelled(self) -> None:
        await asyncio.Event().wait()

    async def member(self, outcome: MemberOutcome) -> None:
        del outcome


async def overhead(jobs: int, children: int) -> Figures:
    """Run jobs in ``children`` warm children; return wall time and the parent's processor time for each."""
    reference = f"{Path(__file__).with_name('child_app.py')}:app"
    runner = FunctionRunner(app, reference, processes=children, artifacts=file_artifacts(Path("data")), recycle_after=0)
    await runner.start()
    try:
        await _run(runner, 50 * children, children)
        started, cpu = time.perf_counter(), time.process_time()
        await _run(runner, jobs, children)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        await runner.stop()
    return {"jobs_per_s": jobs / seconds, "wall_us_per_job": seconds / jobs * 1e6, "cpu_us_per_job": cpu / jobs * 1e6}


async def _run(runner: FunctionRunner, jobs: int, children: int) -> None:
    numbers = iter(range(1, jobs + 1))

    async def slot() -> None:
        for number in numbers:
            lease = Lease(job=number, token=number, attempt=1, kind="empty_child", payload=b'{"n":1}', length=30.0)
            outcome = await runner.run(lease, _Attempt())
            if outcome.kind is not OutcomeKind.SUCCEEDED:
                raise RuntimeError(f"a job ended with {outcome}")

    async with asyncio.TaskGroup() as group:
        for _ in range(children):
            group.create_task(slot())
