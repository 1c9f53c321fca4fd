#!/usr/bin/python3 -IS
"""Compares two files whose tokens or lines may have another order.

    recodex-judge-shuffle [-nir] EXPECTED ACTUAL

-n: the end of a line is white space like any other. -i: tokens of a line may have any order. -r: lines may have any order.
Empty lines do not matter. Exit status 0 and "1.000000": alike; 1 and "0.000000": not; 2: could not be compared.
"""

import sys
from collections.abc import Sequence

Rows = list[list[bytes]]


def read_rows(path: str, letters: str) -> Rows:
    """Return the lines of a file as tokens, in an order that does not depend on what may be shuffled."""
    with open(path, "rb") as file:  # noqa: PTH123 - a script that has to start fast
        rows = [file.read().split()] if "n" in letters else [line.split() for line in file]
    rows = [sorted(row) if "i" in letters else row for row in rows if row]
    return sorted(rows) if "r" in letters else rows


def main(arguments: Sequence[str]) -> int:
    """Compare; return the exit status."""
    letters = "".join(argument[1:] for argument in arguments[:-2])
    if len(arguments) < 2 or any(not argument.startswith("-") for argument in arguments[:-2]) or set(letters) - set("nir"):  # noqa: PLR2004
        sys.stderr.write("usage: recodex-judge-shuffle [-nir] EXPECTED ACTUAL\n")
        return 2
    try:
        expected, actual = (read_rows(path, letters) for path in arguments[-2:])
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("1.000000\n" if expected == actual else "0.000000\n")
    return 0 if expected == actual else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
