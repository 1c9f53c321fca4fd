#!/usr/bin/python3 -IS
"""Copies a text without its comments, which begin with // and end with the line. No judge, but it stands beside them.

    recodex-judge-filter [INPUT [OUTPUT]]

Without names it reads standard input and writes standard output. A line that is nothing but a comment vanishes whole.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack


def filtered(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines without comments."""
    for line in lines:
        text, comment, _ = line.partition(b"//")
        if not comment:
            yield line
        elif text:
            yield text + (b"\n" if line.endswith(b"\n") else b"")


def main(arguments: Sequence[str]) -> int:
    """Filter; return the exit status."""
    if len(arguments) > 2:  # noqa: PLR2004 - input and output
        sys.stderr.write("usage: recodex-judge-filter [INPUT [OUTPUT]]\n")
        return 2
    try:
        with ExitStack() as stack:
            names = [*arguments, None, None]
            source = sys.stdin.buffer if names[0] is None else stack.enter_context(open(names[0], "rb"))  # noqa: PTH123
            target = sys.stdout.buffer if names[1] is None else stack.enter_context(open(names[1], "wb"))  # noqa: PTH123
            target.writelines(filtered(source))
            target.flush()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
