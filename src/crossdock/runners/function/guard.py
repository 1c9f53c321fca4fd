"""Ends what children leave behind when their parent is killed.

The kernel kills a child together with its parent, but not the programs that user code has started below it. This process
does: it reads lines from the parent, ``+GROUP`` and ``-GROUP``, and once the parent is gone it kills every process group
that is left. It imports next to nothing, so it costs few megabytes and starts in milliseconds.
"""

import os
import signal
import sys


def main() -> None:
    """Keep the list of groups up to date until standard input ends, then kill them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    main()
