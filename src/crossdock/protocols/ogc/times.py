"""Times as the standard writes them: RFC 3339 instants, and intervals with open ends."""

from datetime import UTC, datetime
from typing import NoReturn

from crossdock.core.errors import Code
from crossdock.http.problems import INVALID_PARAMETER, ProblemError


def rfc3339(seconds: float) -> str:
    """Return a time in seconds since 1970 as text, in UTC and to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def maybe(seconds: float | None) -> str | None:
    """Return the text of a time that may be missing."""
    return None if seconds is None else rfc3339(seconds)


def parse_instant(text: str, name: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time; without a zone it is taken as UTC.

    Raises:
        ProblemError: ``invalid``, naming the parameter ``name``.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        _refuse(text, name)


def parse_interval(text: str, name: str) -> tuple[float | None, float | None]:
    """Return the ends of ``instant``, ``start/end``, ``../end`` or ``start/..``; None where it is open."""
    start, slash, end = text.partition("/")
    if not slash:
        instant = parse_instant(start, name)
        # The finest that our own documents show is a millisecond, so an instant stands for that long.
        return instant, instant + 0.001
    if start in ("", "..") and end in ("", ".."):
        _refuse(text, name)
    return _end(start, name), _end(end, name)


def _end(text: str, name: str) -> float | None:
    return None if text in ("", "..") else parse_instant(text, name)


def _refuse(text: str, name: str) -> NoReturn:
    raise ProblemError(
        Code.INVALID,
        f"{name}: {text[:60]!r} is no RFC 3339 time, nor an interval like 2026-01-31T00:00:00Z/..",
        type=INVALID_PARAMETER,
    )
