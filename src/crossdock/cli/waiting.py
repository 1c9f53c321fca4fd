"""Waiting for a job: a progress bar on stderr, the result on stdout, and what Ctrl-C means."""

import sys
from typing import Any, cast

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.interrupts import HeldInterrupt
from crossdock.cli.output import print_lines
from crossdock.cli.views import describe_end
from crossdock.protocols.ogc.client import Client
from crossdock.protocols.ogc.messages import StatusInfo


def wait_for(client: Client, job: StatusInfo, interrupt: HeldInterrupt | None = None, *, json: bool) -> None:
    """Show progress until the job ends, then print its result; an ``interrupt`` that was held back counts from here.

    Raises:
        CommandError: the job failed or was cancelled, or the user stopped waiting.
    """
    try:
        if interrupt is not None:
            interrupt.release()
        _follow(client, job)
    except KeyboardInterrupt:
        raise CommandError(interrupted(client, job), ExitCode.INTERRUPTED) from None
    ended = client.job(job.job_id)
    succeeded = ended.status == "successful"
    result = client.result(job.job_id) if succeeded else None
    if json:
        print_lines([_as_object(ended, result)])
    elif succeeded:
        typer.echo(msgspec.json.encode(result).decode())
    if not succeeded:
        raise CommandError(describe_end(ended), ExitCode.FAILED)


def _follow(client: Client, job: StatusInfo) -> None:
    console = Console(stderr=True, highlight=False)
    name, steps = TextColumn("{task.fields[job]}"), TextColumn("{task.fields[steps]}")
    columns = (SpinnerColumn(), name, BarColumn(), steps, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", job=job.job_id, steps="waiting", total=None)
        for entry in client.watch(job.job_id):
            data = cast("dict[str, Any]", entry.data or {})
            if entry.event == "progress":
                done, total, text = _steps(data)
                bar.update(task, completed=done, total=total or None, steps=text)
            elif entry.event == "log":
                console.print(Text(str(data.get("text", ""))))
            else:
                bar.update(task, steps=entry.event)


def _steps(data: dict[str, Any]) -> tuple[float, float, str]:
    """Return done, total and a text, of a job's own progress or of the counts of an array."""
    if "succeeded" in data:
        done = data["succeeded"] + data["failed"] + data["cancelled"]
        failed = f", {data['failed']} failed" if data["failed"] else ""
        return done, data["total"], f"{done}/{data['total']}{failed}"
    done, total = data.get("done", 0), data.get("total", 0)
    message = data.get("message", "")
    return done, total, f"{done:g}/{total:g} {message}" if total else f"{done:g} {message}"


def interrupted(client: Client, job: StatusInfo) -> str:
    """Ask what to do with the job; return what was done."""
    again = f"crossdock jobs watch {job.job_id}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return f"interrupted; the job goes on: {again}"
    try:
        wanted = typer.confirm(f"\nCancel job {job.job_id}?", default=False, err=True)
    except (typer.Abort, KeyboardInterrupt):
        wanted = False
    if not wanted:
        return f"the job goes on: {again}"
    ended = client.cancel(job.job_id)
    return f"{job.job_id} is cancelled" if ended.crossdock.state == "cancelled" else f"{job.job_id} was asked to stop"


def _as_object(job: StatusInfo, result: object) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(job)
    return {**shown, "result": result} if job.status == "successful" else shown
