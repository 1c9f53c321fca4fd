"""A parent that is killed without warning leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unit.runners.recorder import SAMPLE, gone

PARENT = """
import asyncio, sys
from unit.runners.recorder import Recorder, lease
from crossdock.runners.function import FunctionRunner, load_app

async def main():
    runner = FunctionRunner(load_app(sys.argv[1]), sys.argv[1], processes=2)
    await runner.start()
    attempts = [Recorder(), Recorder()]
    tasks = [asyncio.create_task(runner.run(lease(kind), attempt)) for kind, attempt in zip(("stuck", "patient"), attempts)]
    for attempt in attempts:
        await attempt.until(lambda: attempt.logs)
    if sys.argv[2] == "unguarded":
        runner._pool._guard._process.kill()
    print(*runner.processes(), *attempts[0].logs[0].split(), flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


@pytest.mark.parametrize(("how", "certain"), [("guarded", 3), ("unguarded", 2)])
def test_nothing_is_left_half_a_second_after_the_parent_was_killed(how: str, certain: int) -> None:
    tests = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, SAMPLE, how], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": tests}
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    # Two children, and below one of them a program in its group, which is the guard's business. One that left the group
    # belongs to nobody.
    assert len(pids) == 4
    try:
        asyncio.run(gone(*pids[:certain]))
    finally:
        for pid in pids[certain:]:
            os.kill(pid, signal.SIGKILL)
