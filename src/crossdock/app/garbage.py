"""Python's collector of reference cycles, set for a process that makes millions of small objects and hardly any cycles."""

import gc
from typing import Final

_ALLOCATIONS: Final = 50_000
"""More objects made than freed since the last look for cycles; Python's own 700 is reached by a single group of jobs."""


def settle_garbage() -> None:
    """Leave what has been loaded so far out of all collections, and collect seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 100)
