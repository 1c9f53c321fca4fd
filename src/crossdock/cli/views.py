"""How jobs and workers look on a terminal."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdock.protocols.ogc.messages import Counts, StatusInfo, WorkerDocument

_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "leased": "cyan"}


def print_jobs(jobs: Iterable[StatusInfo]) -> None:
    """Print a table of jobs."""
    rows = [_row(job) for job in jobs]
    _print(["JOB", "KIND", "STATE", "DONE", "TRY", "AGE", "MESSAGE"], rows, "no jobs")


def print_workers(workers: Iterable[WorkerDocument]) -> None:
    """Print a table of workers."""
    rows = [
        [each.id, f"{each.busy}/{each.slots}", _worker_state(each), " ".join(each.kinds), each.group or "", each.description]
        for each in workers
    ]
    _print(["WORKER", "BUSY", "STATE", "KINDS", "GROUP", "DESCRIPTION"], rows, "no workers are attached")


def print_job(job: StatusInfo) -> None:
    """Print all there is to say about a job, a line each."""
    detail = job.crossdock
    steps = detail.steps
    lines = {
        "job": job.job_id,
        "kind": job.process_id,
        "state": detail.state + (", asked to stop" if detail.cancel_requested else ""),
        "message": job.message,
        "code": detail.code,
        "why": detail.why,
        "progress": f"{steps.done:g} of {steps.total:g}" if steps and steps.total else _progress(job),
        "members": describe_counts(detail.members) if detail.members else "",
        "attempt": detail.attempt or "",
        "worker": detail.worker,
        "tenant": detail.tenant,
        "priority": detail.priority or "",
        "batch": detail.batch,
        "retry of": detail.retry_of,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
    }
    console = Console(highlight=False)
    for name, value in lines.items():
        if value:
            console.print(Text(f"{name:<9} {value}"), soft_wrap=True)


def describe_end(job: StatusInfo) -> str:
    """Say in a line how a job ended."""
    detail = job.crossdock
    what = f"{job.job_id} {detail.state}"
    if detail.members:
        what += f" ({describe_counts(detail.members)})"
    reason = ": ".join(part for part in (detail.code, job.message) if part)
    return f"{what}: {reason}" if reason and detail.state != "succeeded" else what


def _print(head: Sequence[str], rows: Sequence[Sequence[str | Text]], nothing: str) -> None:
    console = Console(highlight=False)
    if not rows:
        Console(stderr=True, highlight=False).print(nothing)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        # Ids are for copying: better a wide line than half of one.
        table.add_column(name, no_wrap=name in ("JOB", "WORKER", "STATE"), overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell) if isinstance(cell, str) else cell for cell in row])
    console.print(table, soft_wrap=not console.is_terminal)


def _row(job: StatusInfo) -> list[str | Text]:
    attempt = str(job.crossdock.attempt or "")
    return [job.job_id, job.process_id, _state(job), _progress(job), attempt, _age(job), _message(job)]


def _state(job: StatusInfo) -> Text:
    state = job.crossdock.state
    return Text("stopping" if job.crossdock.cancel_requested and state == "leased" else state, _STYLES.get(state, ""))


def _progress(job: StatusInfo) -> str:
    return f"{job.progress}%" if job.progress else ""


def _age(job: StatusInfo) -> str:
    if job.created is None:
        return ""
    seconds = max(0.0, time.time() - datetime.fromisoformat(job.created).timestamp())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _message(job: StatusInfo) -> str:
    return ": ".join(part for part in (job.crossdock.code, job.message) if part) or job.crossdock.why


def describe_counts(counts: Counts) -> str:
    """Say how many members there are, and how they ended."""
    ended = counts.succeeded + counts.failed + counts.cancelled
    return f"{ended} of {counts.total} ended, {counts.failed} failed, {counts.cancelled} cancelled"


def _worker_state(worker: WorkerDocument) -> str:
    if worker.draining:
        return "draining"
    return "busy" if worker.busy else "idle"
