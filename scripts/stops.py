"""The stops of the demo's tour: each runs jobs in one way, checks what came back, and says in a line what it saw."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from front import Front
from quick_server import worker_request
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from servers import CROSSDOCK, Server

from crossdock import Client

Picture = list[list[int]]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

LIMIT = 200
PATIENCE = 60
"""Seconds that any one wait may take."""

SMALL = {"width": 120, "height": 40, "limit": LIMIT}
LARGE = {"width": 480, "height": 256, "limit": LIMIT}


class MismatchError(AssertionError):
    """A job gave something else than it should."""


@dataclass(frozen=True)
class Place:
    """Where the tour happens."""

    console: Console
    server: Server
    client: Client
    recodex: str
    folder: Path


def longpost(place: Place) -> str:
    """Run a job with the client of the quick-server package as it is, and show the progress it cannot show itself."""
    before = known(place)
    with background(place.server.url, LARGE) as answer:
        job = newest(place, before, answer)
        steps = follow(place, job)
        check_picture(answer.result(PATIENCE), LARGE)
    return f"quick_server.worker_request got its picture; job {job} told {steps} steps on the way"


def ogc_sync(place: Place) -> str:
    """Run a job in one request."""
    url = f"{place.server.url}/processes/mandelbrot/execution"
    reply = httpx.post(url, json={"inputs": SMALL}, timeout=PATIENCE).raise_for_status()
    check_picture(reply.json()["result"], SMALL)
    return "POST /processes/mandelbrot/execution answered with the result"


def ogc_async(place: Place) -> str:
    """Start a job, follow its events, fetch its result."""
    job = place.client.submit("mandelbrot", LARGE).job_id
    steps = follow(place, job)
    check_picture(place.client.result(job), LARGE)
    return f"201 Created, {steps} server-sent events, then the results of job {job}"


def command_line(place: Place) -> str:
    """Submit from the command line; its progress bar goes to the terminal, its result to us."""
    command = [CROSSDOCK, "submit", "mandelbrot", "--params", json.dumps(SMALL), "--wait", "--server", place.server.url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
    check_picture(json.loads(done.stdout), SMALL)
    return "crossdock submit mandelbrot --wait printed the result, status 0"


def array(place: Place) -> str:
    """Submit an array: one picture for each of ten limits."""
    limits = range(20, 220, 20)
    array = {"start": limits.start, "stop": limits.stop, "step": limits.step, "as": "limit"}
    job = place.client.submit_array("mandelbrot", array, {"width": 60, "height": 20}).job_id
    follow_array(place, job)
    centres = [picture[10][30] for picture in place.client.result(job)]
    expect(centres, list(limits))
    return f"one submit, {len(centres)} members, all results in order; array {job}"


def pipeline(place: Place) -> str:
    """Chain two jobs; the second draws what the first computed."""
    picture = place.client.submit("mandelbrot", {"width": 140, "height": 100}).job_id
    drawing = place.client.submit("drawing", {"columns": 70}, after=[picture]).job_id
    follow(place, drawing)
    text = place.client.result(drawing)
    expect(len(text.splitlines()), 25)
    expect("@" in text, True)
    place.console.print(Panel.fit(text, title="drawn by the second job from the result of the first", border_style="dim"))
    return f"job {drawing} waited for job {picture} and used its result"


def kill(place: Place) -> str:
    """Kill the server in the middle of a job that a LONGPOST client waits for, and start it again."""
    before = known(place)
    with Front(place.server.url) as front, background(front.url, LARGE) as answer:
        job = newest(place, before, answer)
        follow(place, job, until=0.4)
        with front.holding():
            pid = place.server.pid
            place.server.kill()
            place.console.print(f"   [bold red]kill -9 {pid}[/]: the server is gone, its job was at 40 %")
            place.server.start()
            place.console.print(f"   started again as {place.server.pid}; the client's next poll waited in the proxy")
        follow(place, job)
        check_picture(answer.result(PATIENCE), LARGE)
        attempt = place.client.job(job).crossdock.attempt
    expect(attempt, 2)
    return f"the client got its picture from attempt {attempt} of job {job}, with the token it had"


def evaluate(place: Place) -> str:
    """Have two submitted programs judged, one over ReCodEx and one over HTTP; bars and tables go to the terminal."""
    ends = {}
    for solution, server in (("right", place.recodex), ("wrong", place.server.url)):
        submission = place.folder / f"submission-{solution}"
        prepare = [sys.executable, EXAMPLES / "evaluate/prepare.py", "python", solution, submission]
        subprocess.run(prepare, check=True, timeout=PATIENCE)
        place.console.print(f"   [dim]$ crossdock evaluate {submission} --server '{server}'[/]", soft_wrap=True)
        done = subprocess.run([CROSSDOCK, "evaluate", submission, "--server", server], check=False, timeout=PATIENCE)
        ends[solution] = done.returncode
    expect(ends, {"right": 0, "wrong": 1})
    worker = next(worker for worker in place.client.workers() if "evaluation" in worker.kinds)
    return f"compiled, run and judged three times each: one passed, one did not; {worker.description}"


STOPS = {
    "LONGPOST, the client of PyPI's quick-server": longpost,
    "OGC API, synchronous": ogc_sync,
    "OGC API, asynchronous with events": ogc_async,
    "command line": command_line,
    "an array": array,
    "a pipeline": pipeline,
    "submitted programs, over ReCodEx and over HTTP": evaluate,
    "kill -9 of the server under a LONGPOST client": kill,
}


@contextmanager
def background(url: str, payload: Mapping[str, object]) -> Iterator[Future[Any]]:
    """Have the blocking LONGPOST client run beside us."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(worker_request, f"{url}/longpost/mandelbrot", dict(payload))


def check_picture(picture: Picture, payload: Mapping[str, int]) -> None:
    """Compare what is known of every picture: its size, its centre inside the set, its corner far outside."""
    height, width = payload["height"], payload["width"]
    expect((len(picture), len(picture[0])), (height, width))
    expect((picture[height // 2][width // 2], picture[0][0] < 3), (payload["limit"], True))


def expect(seen: object, wanted: object) -> None:
    """Stop unless two values are equal."""
    if seen != wanted:
        raise MismatchError(f"expected {wanted!r}, got {str(seen)[:100]!r}")


def newest(place: Place, beside: frozenset[str], answer: Future[Any]) -> str:
    """Return the id of a job that was not there before, once it is; raise what its client got if that comes first."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for job in place.client.jobs(limit=1):
            if job.job_id not in beside:
                return job.job_id
        if answer.done() and answer.exception():
            answer.result()
        time.sleep(0.02)
    raise MismatchError("the client's job did not appear")


def known(place: Place) -> frozenset[str]:
    """Return the ids of all jobs so far."""
    return frozenset(job.job_id for job in place.client.jobs(limit=1000))


def follow(place: Place, job: str, until: float = 1.0) -> int:
    """Show a job's progress from its event stream, to its end or to a share of the whole; return the number of steps."""
    steps = 0
    with bar(place.console) as progress:
        shown = progress.add_task(job, total=None, message="submitted")
        for entry in place.client.watch(job):
            if entry.event == "progress":
                step = cast("dict[str, Any]", entry.data)
                steps += 1
                progress.update(shown, completed=step["done"], total=step["total"], message=step["message"])
                if until < 1 and step["done"] >= until * step["total"]:
                    break
            elif entry.event == "succeeded":
                progress.update(shown, completed=1, total=1, message=entry.event)
            else:
                progress.update(shown, message=entry.event)
    return steps


def follow_array(place: Place, job: str) -> None:
    """Show how many members of an array have ended, until all have."""
    with bar(place.console) as progress:
        shown = progress.add_task(job, total=None, message="submitted")
        finished, total = 0, 1
        while finished < total:
            counts = place.client.job(job).crossdock.members
            if counts is not None:
                finished, total = counts.succeeded + counts.failed + counts.cancelled, counts.total
                progress.update(shown, completed=finished, total=total, message=f"{finished} of {total} members")
            time.sleep(0.05)


def bar(console: Console) -> Progress:
    """Return an empty progress display."""
    columns = (TextColumn("   {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("[dim]{task.fields[message]}"), console=console)
