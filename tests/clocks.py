"""A clock that only tests move."""


class HandClock:
    """Two clocks that stand still until they are told otherwise.

    Args:
        wall: the seconds since 1970 at the beginning.
    """

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._wall = wall
        self._mono = 1000.0

    def wall(self) -> float:
        """Return the seconds since 1970."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._mono

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._mono += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock that people share, as an operator or a time server does."""
        self._wall += seconds
