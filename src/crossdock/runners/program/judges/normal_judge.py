#!/usr/bin/python3 -IS
"""Compares two files token by token; lines have to end at the same places.

    recodex-judge-normal [-n] [-r] EXPECTED ACTUAL

-n: the end of a line is white space like any other. -r: tokens that are numbers may differ by 0.001 %. Empty lines do not
matter. Exit status 0 and "1.000000": alike; 1 and "0.000000": not; 2: could not be compared, see standard error.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import isfinite

MARGIN = 1e-5
SMALLEST = 1e-30


def read_tokens(path: str, ignore_lines: bool) -> Iterator[tuple[bool, bytes]]:
    """Yield the tokens of a file, each with whether it begins a line."""
    with open(path, "rb") as file:  # noqa: PTH123 - a script that has to start fast
        for line in file:
            for index, token in enumerate(line.split()):
                yield (index == 0 and not ignore_lines, token)


def alike(expected: bytes, actual: bytes, real: bool) -> bool:
    """Tell whether two tokens are alike, maybe as numbers."""
    if expected == actual:
        return True
    if not real or b"_" in expected + actual:
        return False
    try:
        one, other = float(expected), float(actual)
    except ValueError:
        return False
    if not (isfinite(one) and isfinite(other)):
        return one == other
    return abs(one - other) <= max(abs(one) * MARGIN, SMALLEST)


def main(arguments: Sequence[str]) -> int:
    """Compare; return the exit status."""
    letters = "".join(argument[1:] for argument in arguments[:-2])
    if len(arguments) < 2 or any(not argument.startswith("-") for argument in arguments[:-2]) or set(letters) - set("nr"):  # noqa: PLR2004
        sys.stderr.write("usage: recodex-judge-normal [-n] [-r] EXPECTED ACTUAL\n")
        return 2
    try:
        files = [read_tokens(path, "n" in letters) for path in arguments[-2:]]
        pairs = zip_longest(*files, fillvalue=(False, b""))
        same = all(one[0] == other[0] and alike(one[1], other[1], "r" in letters) for one, other in pairs)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("1.000000\n" if same else "0.000000\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
