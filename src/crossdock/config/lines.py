"""Where in a TOML file a key stands. The standard library's parser does not say, so this is a scan; it may find nothing."""

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?")
_ASSIGNMENT: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART: Final = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")

KeyPath = tuple[str, ...]
"""A key with its tables; the elements of an array of tables are named "0", "1" and so on."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table and key that stands on a line of its own."""
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_parts(assignment[1])), number)
    return found


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a key, or of the nearest table around it, None if neither was found."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _parts(text: str) -> KeyPath:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
