"""``make bench``: run every row three times, print the medians as a table, and write them as JSON."""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.rows import ROWS, Aim, Cases, Row

_WIDTH: Final = 140
"""Columns of the tables in a file or pipe."""

Medians = dict[str, dict[str, list[float]]]
"""Every measured value by case and figure."""


def main() -> int:
    """Run the command; the exit code is 1 if an aim was missed."""
    given = _arguments()
    console = Console(stderr=True)
    rows = [row for row in ROWS if not given.only or row.name in given.only]
    measured: dict[str, Medians] = {}
    for turn in range(1 if given.quick else given.runs):
        for row in rows:
            console.print(f"run {turn + 1}: {row.title} …")
            _gather(measured.setdefault(row.name, {}), row.run(given.quick))
    missed = 0
    output = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    for row in rows:
        table, misses = _table(row, measured[row.name])
        output.print(table)
        missed += misses
    if given.json:
        given.json.write_text(json.dumps(_report(rows, measured), indent=1) + "\n")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=[row.name for row in ROWS], help="this row")
    parser.add_argument("--quick", action="store_true", help="once, and a tenth of the work: does it run at all")
    parser.add_argument("--runs", type=int, default=3, help="how often each row is measured (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here")
    return parser.parse_args()


def _gather(into: Medians, cases: Cases) -> None:
    for case, figures in cases.items():
        values = into.setdefault(case, {})
        for figure, value in (figures or {}).items():
            values.setdefault(figure, []).append(value)


def _table(row: Row, measured: Medians) -> tuple[Table, int]:
    """Return the table of a row, and how many of its aims were missed."""
    table = Table(title=f"{row.name}: {row.title}", title_justify="left", box=None, pad_edge=False)
    for column in ("case", "figure", "median", "least to most", "aim"):
        table.add_column(column, justify="left" if column in {"case", "figure", "aim"} else "right")
    missed = 0
    for case, figures in measured.items():
        if not figures:
            table.add_row(case, "[yellow]peer not available[/]", "", "", "")
        for figure, values in figures.items():
            verdicts = [_verdict(aim, measured) for aim in row.aims if (aim.case, aim.figure) == (case, figure)]
            missed += sum("missed" in verdict for verdict in verdicts)
            extent = f"{_number(min(values))} to {_number(max(values))}"
            table.add_row(case, figure, _number(statistics.median(values)), extent, ", ".join(verdicts))
    return table, missed


def _verdict(aim: Aim, measured: Medians) -> str:
    """Say what was aimed at and whether it was reached."""
    reached = statistics.median(measured[aim.case][aim.figure])
    bound = "at most" if aim.at_most else "at least"
    if aim.peer is None:
        good, text = (reached <= aim.value) if aim.at_most else (reached >= aim.value), f"{bound} {_number(aim.value)}"
    elif not measured.get(aim.peer):
        return "peer not available"
    else:
        ratio = reached / statistics.median(measured[aim.peer][aim.figure])
        good, text = ratio >= aim.value, f"{ratio:.3g} x {aim.peer}, {bound} {aim.value:g} x"
    return f"[green]{text}: met[/]" if good else f"[red]{text}: missed[/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _report(rows: list[Row], measured: dict[str, Medians]) -> dict[str, Any]:
    machine = {
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    found = {
        row.name: {
            case: {figure: {"median": statistics.median(values), "values": values} for figure, values in figures.items()}
            for case, figures in measured[row.name].items()
        }
        for row in rows
    }
    return {"machine": machine, "rows": found}


if __name__ == "__main__":
    sys.exit(main())
