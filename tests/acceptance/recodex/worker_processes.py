"""The two ends of a worker link as processes that a test may kill.

They are called ``server DATA PORT JOBS`` and ``worker PORT NAME SECONDS``. The server submits so many jobs and prints a line
of JSON for each one that ended. The worker prints a line for each run it begins; a run takes so many seconds.
"""

import asyncio
import json
import sys
from pathlib import Path

import msgspec

from contracts.recodex.doors_scene import ANY_PORT, Scene
from contracts.recodex.worker_hands import Crew
from crossdock.app.logs import configure_logs
from crossdock.core.requests import Submit
from crossdock.protocols.recodex.options import RecodexOptions


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


async def serve(data: Path, port: int, jobs: int) -> None:
    scene = Scene(data, RecodexOptions(clients=ANY_PORT, workers=f"tcp://127.0.0.1:{port}"))
    await scene.open()
    for number in range(jobs):
        await scene.broker.intake.submit(Submit(kind="echo", payload=msgspec.json.encode(number)))
    say(ready=scene.backend.port)
    told: set[int] = set()
    while True:
        for job in await scene.jobs():
            if job.terminal and job.id not in told:
                told.add(job.id)
                say(ended=job.id, state=job.state, attempts=job.attempt, worker=job.worker)
        await asyncio.sleep(0.05)


async def work(port: int, name: str, seconds: float) -> None:
    crew = Crew(port, name, slots=4, kinds=("echo",), interval=1.0)
    run = crew.runner.run

    async def slowly(lease, attempt):
        say(began=lease.job, worker=name)
        await asyncio.sleep(seconds)
        return await run(lease, attempt)

    crew.runner.run = slowly
    await crew.worker.run()


if __name__ == "__main__":
    configure_logs("warning", "text")  # to stderr: stdout is for the test
    role, *arguments = sys.argv[1:]
    if role == "server":
        asyncio.run(serve(Path(arguments[0]), int(arguments[1]), int(arguments[2])))
    else:
        asyncio.run(work(int(arguments[0]), arguments[1], float(arguments[2])))
