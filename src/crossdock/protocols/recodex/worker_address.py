"""The address of a broker's door for workers, with what the worker offers there."""

from difflib import get_close_matches
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Capabilities
from crossdock.protocols.recodex.messages import WORKER_PORT

SCHEME: Final = "recodex+tcp"
_EXAMPLE: Final = f"{SCHEME}://HOST:{WORKER_PORT}"
_KNOWN: Final = (
    "description",
    "done",
    "header",
    "hwgroup",
    "liveness",
    "ping_interval",
    "secret_key",
    "server_key",
    "slots",
)
_MOST_SLOTS: Final = 10_000


class WorkerAddress(Struct, frozen=True, kw_only=True):
    """A broker's door for workers.

    ``endpoint`` is ZeroMQ's. ``server_key`` and ``secret_key`` are files with the broker's public and our secret CURVE key,
    empty for no encryption. ``ping_interval`` is seconds, ``liveness`` how many pings in a row may stay unanswered.
    ``old_done`` is for brokers of 2016, which know the ends ``OK`` and ``ERR`` only.
    """

    endpoint: str
    offers: Capabilities = Capabilities()
    slots: int | None = None
    description: str = ""
    server_key: str = ""
    secret_key: str = ""
    ping_interval: float = 1.0
    liveness: int = 4
    old_done: bool = False


def parse_connect(url: str) -> WorkerAddress:
    """Return what ``recodex+tcp://HOST:PORT?hwgroup=GROUP&header=NAME=VALUE`` names; ``header`` may be repeated.

    More parameters: ``slots``, ``description``, ``server_key`` and ``secret_key`` for CURVE, ``ping_interval`` (seconds),
    ``liveness``, and ``done=old`` for brokers of 2016.

    Raises:
        CrossdockError: ``invalid``; the text says what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or WORKER_PORT
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError as error:
        raise _invalid(url, f"expected {_EXAMPLE} ({error})") from None
    _check_parts(url, parts)
    given = _once(url, pairs)
    host = parts.hostname or ""
    return WorkerAddress(
        endpoint=f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}",
        offers=Capabilities(group=given.get("hwgroup") or None, values=_headers(url, pairs)),
        slots=int(_number(url, given, "slots", 1, _MOST_SLOTS)) if "slots" in given else None,
        description=given.get("description", ""),
        server_key=given.get("server_key", ""),
        secret_key=given.get("secret_key", ""),
        ping_interval=_number(url, given, "ping_interval", 0.01, 3600) if "ping_interval" in given else 1.0,
        liveness=int(_number(url, given, "liveness", 1, 1000)) if "liveness" in given else 4,
        old_done=given.get("done") == "old",
    )


def _check_parts(url: str, parts: SplitResult) -> None:
    if parts.scheme != SCHEME or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise _invalid(url, f"expected {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise CrossdockError(Code.INVALID, "ReCodEx brokers know no user names: leave out what stands before the @")


def _once(url: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters that may stand once."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            close = get_close_matches(name, _KNOWN, 1)
            hint = f"do you mean {close[0]!r}?" if close else f"there are {', '.join(_KNOWN)}"
            raise _invalid(url, f"{name!r} is not known; {hint}")
        if name in given:
            raise _invalid(url, f"{name!r} is given twice")
        if name != "header":
            given[name] = value
    if given.get("done", "old") != "old":
        raise _invalid(url, "done can only be 'old'; leave it out for the brokers of today")
    if bool(given.get("server_key")) != bool(given.get("secret_key")):
        raise _invalid(url, "server_key and secret_key are needed together")
    return given


def _headers(url: str, pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for _, text in (pair for pair in pairs if pair[0] == "header"):
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise _invalid(url, f"header {text!r}: expected NAME=VALUE")
        values[name] = (*values.get(name, ()), value)
    return values


def _number(url: str, given: dict[str, str], name: str, least: float, most: float) -> float:
    try:
        number = float(given[name])
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise _invalid(url, f"{name} has to be a number from {least:g} to {most:g}")
    return number


def _invalid(url: str, reason: str) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"{url!r}: {reason}")
