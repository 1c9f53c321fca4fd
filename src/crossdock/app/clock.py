"""The clock of a real process."""

import time


class SystemClock:
    """The operating system's two clocks."""

    def wall(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
