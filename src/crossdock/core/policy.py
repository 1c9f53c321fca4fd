"""Retries, timeouts and lease lengths: plain functions of a job's numbers and the time, which is always passed in."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

_LONGEST: Final = 366 * 86400.0


class Policy(Struct, frozen=True, kw_only=True):
    """How jobs of a kind are treated. All durations are seconds; None means no limit.

    ``attempts`` counts every lease, the first included. The pause before attempt n + 1 is
    ``backoff * factor ** (n - 1)``, at most ``backoff_max``, and up to the share ``jitter`` shorter.
    ``timeout`` limits one attempt, ``queue_timeout`` the time until the first lease, ``unroutable_timeout`` the time a job
    is ready while no attached worker could ever take it, ``total_timeout`` the time from submit to end. ``lease`` is the
    heartbeat timeout: an attempt that is not renewed for that long is lost. ``keep`` is how long a finished job stays
    readable.
    """

    attempts: int = 3
    backoff: float = 1.0
    factor: float = 2.0
    backoff_max: float = 300.0
    jitter: float = 0.25
    non_retryable: tuple[str, ...] = ()
    timeout: float | None = None
    queue_timeout: float | None = None
    total_timeout: float | None = None
    unroutable_timeout: float | None = None
    lease: float = 30.0
    grace: float = 5.0
    keep: float = 7 * 86400.0


class Overrides(Struct, frozen=True, kw_only=True):
    """What one job changes of its kind's policy; None keeps the kind's value."""

    attempts: int | None = None
    timeout: float | None = None
    queue_timeout: float | None = None
    total_timeout: float | None = None
    keep: float | None = None

    def apply(self, policy: Policy) -> Policy:
        """Return ``policy`` with the values of this object in place."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return replace(policy, **given)


def pause(policy: Policy, attempt: int, draw: float, asked: float | None = None) -> float:
    """Return the seconds to wait before the attempt that follows attempt number ``attempt`` (counted from 1).

    Exponential back-off with jitter; ``draw`` is a random number in [0, 1). A sensible number of seconds that was ``asked``
    for goes first.
    """
    if asked is not None and 0 <= asked <= _LONGEST:
        return asked
    try:
        exponential = policy.backoff * policy.factor ** max(0, attempt - 1)
    except OverflowError:
        exponential = policy.backoff_max
    return min(policy.backoff_max, exponential) * (1 - policy.jitter * draw)


def until(due: float, created: float, wall: float) -> float:
    """Return the seconds until a time of the clock that people share.

    Nothing is due longer after now than it was after it came into being: a clock that was set back holds nothing for long.
    """
    return max(0.0, due - max(created, wall))


def retryable(policy: Policy, attempt: int, code: str) -> bool:
    """Tell whether an attempt that errored, was lost or timed out with ``code`` may be followed by another."""
    return attempt < policy.attempts and code not in policy.non_retryable
