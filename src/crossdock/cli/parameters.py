"""What stands on the command line for a job's parameters: JSON, a file, standard input, a range, a table."""

import csv
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast

from crossdock.cli.failures import CommandError, ExitCode


class Range(NamedTuple):
    """The numbers from ``start`` to before ``stop``."""

    start: int
    stop: int
    step: int


def read_json(text: str) -> object:
    """Return the JSON value of a ``--params``: JSON text, ``@FILE``, or ``-`` for standard input.

    Raises:
        CommandError: it cannot be read, or is no JSON.
    """
    where, content = _content(text)
    try:
        return json.loads(content, parse_constant=_refuse)
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}", ExitCode.USAGE) from None


def parse_range(text: str) -> Range:
    """Return the range written ``START:STOP`` or ``START:STOP:STEP``, ``STOP`` not included.

    Raises:
        CommandError: it is no range, or an empty one.
    """
    try:
        numbers = [int(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or numbers[2:] == [0]:
        raise CommandError(f"--array {text!r}: expected START:STOP or START:STOP:STEP, like 0:1000", ExitCode.USAGE)
    span = range(*numbers)
    if not span:
        raise CommandError(f"--array {text!r} has no members: STOP is not included", ExitCode.USAGE)
    return Range(span.start, span.stop, span.step)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of parameters: CSV with a header, a JSON list of objects, or one object a line.

    In CSV, cells that are JSON numbers, true, false or null are taken as such.

    Raises:
        CommandError: it cannot be read, or a row is no object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text)
    except OSError as error:
        raise CommandError(f"--table {path}: {error.strerror}", ExitCode.USAGE) from None
    except ValueError as error:
        raise CommandError(f"--table {path}: {error}", ExitCode.USAGE) from None
    if not rows:
        raise CommandError(f"--table {path} has no rows", ExitCode.USAGE)
    return rows


def _content(text: str) -> tuple[str, str]:
    if text == "-":
        return "standard input", sys.stdin.read()
    if not text.startswith("@"):
        return "--params", text
    try:
        return text[1:], Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CommandError(f"--params {text}: {reason}", ExitCode.USAGE) from None


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not allowed in JSON")


def _json_rows(text: str) -> list[dict[str, Any]]:
    if text.lstrip().startswith("["):
        rows = cast("list[object]", json.loads(text, parse_constant=_refuse))
    else:
        rows = [json.loads(line, parse_constant=_refuse) for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object")  # noqa: TRY004 - it is the file's fault, not the caller's
    return cast("list[dict[str, Any]]", rows)


def _csv_rows(text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        if None in row or None in row.values():
            raise ValueError(f"line {number} has not as many cells as the header")
        rows.append({name: _cell(cell) for name, cell in row.items()})
    return rows


def _cell(text: str) -> object:
    try:
        value: object = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list, str)) else value


def named_values(option: str, texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Return what ``NAME=VALUE`` texts of an option say: the values by name.

    Raises:
        CommandError: a text has another form.
    """
    values: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"{option} {text!r}: expected NAME=VALUE", ExitCode.USAGE)
        values[name] = (*values.get(name, ()), value)
    return values
