"""How an evaluation looks on a terminal: a bar over its tasks, a table of its tests."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from crossdock.core.requests import Step
from crossdock.protocols.recodex.client.verdict import JudgedTest, Verdict
from crossdock.protocols.recodex.messages import ABORTED, DOWNLOADED, FAILED, TASK

_MOST_LINES = 60
_PLAIN = ("time limit", "memory limit", "signal", "exit code")
_SHOWN_CONTROLS = "\n\t"


def show_progress(name: str, steps: Iterable[Step], total: int) -> bool:
    """Show a bar until the last step; tell whether the job failed, as far as its steps say so.

    Args:
        name: the job's id.
        steps: what is told of it.
        total: the number of its tasks.
    """
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.fields[job]}", markup=False), BarColumn())
    more = (TextColumn("{task.fields[steps]}", markup=False), TimeElapsedColumn())
    failed = False
    ended: set[str] = set()
    with Progress(*columns, *more, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", job=name, steps="waiting", total=total or None)
        for step in steps:
            if step.phase in (DOWNLOADED, ABORTED):
                ended.clear()  # of an attempt that is over, nothing counts
            if step.phase == TASK:
                ended.add(step.task)
            failed = step.phase == FAILED or (failed and step.phase not in (DOWNLOADED, ABORTED))
            text = f"{len(ended)}/{total} {step.task}" if step.phase == TASK else step.phase.lower()
            bar.update(task, completed=min(len(ended), total), steps=printable(text))
    return failed


def print_verdict(verdict: Verdict) -> None:
    """Print the table of tests, what there is to say about those that failed, and the score."""
    console = Console(highlight=False)
    if not verdict.compiled:
        console.print(Text("it does not compile:", "red"), soft_wrap=True)
        _print_text(console, verdict.compiler)
    elif verdict.tests:
        _print_tests(console, verdict.tests)
        for test in verdict.tests:
            if not test.passed and (said := _said(test)):
                console.print(Text(f"\n{printable(test.test)}:"), soft_wrap=True)
                _print_text(console, said)
    passed = sum(test.passed for test in verdict.tests)
    if verdict.tests:
        console.print(f"\nscore {verdict.score:.2f}: {passed} of {len(verdict.tests)} tests passed", soft_wrap=True)


def printable(text: str) -> str:
    """Return a text of a stranger without what would steer a terminal."""
    return "".join(
        sign if sign.isprintable() or sign in _SHOWN_CONTROLS else sign.encode("unicode_escape").decode() for sign in text
    )


def _said(test: JudgedTest) -> str:
    """Return what says more about a test than its status does."""
    message = "" if test.status.startswith(_PLAIN) else test.message
    return "\n".join(filter(None, (message, test.log)))


def _print_tests(console: Console, tests: Iterable[JudgedTest]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TEST", overflow="fold")
    table.add_column("STATUS", no_wrap=True)
    for name in ("TIME", "MEMORY", "SCORE"):
        table.add_column(name, justify="right", no_wrap=True)
    for test in tests:
        table.add_row(
            Text(printable(test.test)),
            Text(test.status, "green" if test.passed else "yellow" if test.status == "skipped" else "red"),
            Text("" if test.time is None else f"{test.time:.3f} s"),
            Text("" if test.memory is None else f"{test.memory / 1024:.1f} MiB"),
            Text(f"{test.score:.2f}"),
        )
    console.print(table, soft_wrap=not console.is_terminal)


def _print_text(console: Console, text: str) -> None:
    lines = printable(text).splitlines()
    for line in lines[:_MOST_LINES]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(lines) > _MOST_LINES:
        console.print(f"  … {len(lines) - _MOST_LINES} more lines")
