"""Addresses of RabbitMQ brokers as people write them: ``jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?NAME=VALUE``.

Where nothing but a json-bus broker can be meant, ``amqp://`` will do.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError

SCHEMES: Final = ("jsonbus+amqp", "jsonbus+amqps")
_PREFIX: Final = "jsonbus+"
_PLAIN: Final = ("amqp", "amqps")
_EXAMPLE: Final = "jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST"
_YES: Final = frozenset({"yes", "true", "1"})
_NO: Final = frozenset({"no", "false", "0"})


class Address(Struct, frozen=True):
    """A broker: ``url`` is its AMQP URL, ``shown`` the whole address without the password, ``given`` its parameters."""

    url: str
    shown: str
    given: Mapping[str, str]

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter; an empty one counts as missing."""
        return self.given.get(name) or default

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Return a parameter that is a number. Raises ``invalid`` outside its bounds."""
        if name not in self.given:
            return default
        try:
            number = float(self.given[name])
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise _invalid(self.shown, f"{name} has to be a number from {least:g} to {most:g}")
        return number

    def flag(self, name: str) -> bool:
        """Return whether a parameter says yes. Raises ``invalid`` if it says neither yes nor no."""
        said = self.given.get(name, "no")
        if said not in _YES | _NO:
            raise _invalid(self.shown, f"{name} has to be yes or no")
        return said in _YES


def read_address(text: str, known: Sequence[str]) -> Address:
    """Return what an address names; ``known`` are its parameters.

    Raises:
        CrossdockError: ``invalid``; the text says what is wrong with it, and never has the password.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError as error:
        raise CrossdockError(Code.INVALID, f"the address of a json-bus broker is {_EXAMPLE} ({error})") from None
    shown = _shown(parts)
    if parts.scheme.removeprefix(_PREFIX) not in _PLAIN or not parts.hostname or parts.fragment or parts.path.count("/") > 1:
        raise _invalid(shown, f"expected {_EXAMPLE}; a / in VHOST is written %2F")
    url = parts._replace(scheme=parts.scheme.removeprefix(_PREFIX), query="").geturl()
    return Address(url=url, shown=shown, given=_once(shown, pairs, known))


def _once(shown: str, pairs: list[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"do you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
            raise _invalid(shown, f"{name!r} is not known; {hint}")
        if name in given:
            raise _invalid(shown, f"{name!r} is given twice")
        given[name] = value
    return given


def _shown(parts: SplitResult) -> str:
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}").geturl()


def _invalid(shown: str, reason: str) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"{shown}: {reason}")
