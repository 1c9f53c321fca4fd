"""Each measurement runs in a fresh process, so that none inherits another's memory or garbage."""

import asyncio
import gc
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any, Final

from crossdock.app.garbage import settle_garbage
from crossdock.http.server import new_event_loop

Figures = dict[str, float]
"""What one run measured, by name; the units stand in the names."""

_LIMIT: Final = 1800.0
"""Seconds after which a measurement is given up."""


def measure(function: str, **arguments: Any) -> Figures:
    """Run an async function ``module:name`` of this package in a process of its own and return its figures.

    Raises:
        RuntimeError: with the end of what the process wrote, if it failed.
    """
    command = [sys.executable, "-m", "bench.child", function, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode:
        raise RuntimeError(f"{function} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run one measurement and print its figures as JSON."""
    module, _, name = sys.argv[1].partition(":")
    function = getattr(import_module(f"bench.{module}"), name)
    settle_garbage()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        figures = runner.run(function(**json.loads(sys.argv[2])))
    print(json.dumps(figures), flush=True)
    gc.disable()
    os._exit(0)  # a million objects need not be freed one by one


if __name__ == "__main__":
    main()
