#!/usr/bin/python3 -IS
"""Passes on the verdict that a judge gave inside another program.

    recodex-judge-passthrough VERDICT [IGNORED]

The first line of the file is the exit status. What follows goes to standard output, unless it is exactly what
recodex-data-only-wrapper.sh writes: two lines in base 64, then they are decoded to standard output and standard error.
"""

import base64
import binascii
import sys
from collections.abc import Sequence

WRAPPED = 2


def main(arguments: Sequence[str]) -> int:
    """Pass it on; return the exit status."""
    if not 1 <= len(arguments) <= 2:  # noqa: PLR2004 - the verdict, and what other judges compare it with
        sys.stderr.write("usage: recodex-judge-passthrough VERDICT [IGNORED]\n")
        return 2
    try:
        with open(arguments[0], "rb") as file:  # noqa: PTH123 - a script that has to start fast
            first, _, rest = file.read().partition(b"\n")
        status = int(first)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"there is no verdict: {error}\n")
        return 2
    if not 0 <= status <= 255:  # noqa: PLR2004 - exit statuses
        sys.stderr.write(f"{status} is no exit status\n")
        return 2
    output, errors = decoded(rest)
    sys.stdout.buffer.write(output)
    sys.stdout.flush()
    sys.stderr.buffer.write(errors)
    return status


def decoded(rest: bytes) -> tuple[bytes, bytes]:
    """Return what goes to standard output and to standard error."""
    lines = rest.removesuffix(b"\n").split(b"\n")
    if len(lines) == WRAPPED:
        try:
            output, errors = (base64.b64decode(line, validate=True) for line in lines)
        except binascii.Error:
            return rest, b""
        return output, errors
    return rest, b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
