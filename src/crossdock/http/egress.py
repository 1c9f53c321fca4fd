"""Requests of ours to URLs that clients chose: only to where they may lead, judged on the address that is then used."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError

_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(Struct, frozen=True):
    """Where to connect: the URL with the judged address in place of the name, and the name for Host and TLS."""

    url: str
    host: str
    name: str


class Egress:
    """Judges URLs.

    Args:
        allow: prefixes of URLs that may lead to private addresses.
        private: whether all URLs may: right when only this machine's users can submit jobs.
    """

    def __init__(self, allow: Sequence[str] = (), *, private: bool = False) -> None:
        self._allow = tuple(allow)
        self._private = private

    async def judge(self, url: str) -> Target:
        """Return where a request to ``url`` may connect to; the name is looked up once, here.

        Raises:
            CrossdockError: ``invalid`` if it may not be requested, ``unavailable`` if its name cannot be found.
        """
        parts = urlsplit(url)
        name = parts.hostname or ""
        port = parts.port or _PORTS.get(parts.scheme, 0)
        if parts.scheme not in _PORTS or not name or parts.username is not None:
            raise CrossdockError(Code.INVALID, "only http and https URLs without credentials are requested")
        addresses = await _look_up(name, port)
        if any(_is_link_local(address) for address in addresses):
            # Where clouds keep the secrets of a machine. No setting opens that.
            raise CrossdockError(Code.INVALID, f"{name} is a link-local address, which is never requested")
        free = self._private or any(within(url, prefix) for prefix in self._allow)
        # One bad address condemns the name: which of several is used must not matter.
        if not free and not all(is_public(address) for address in addresses):
            message = f"{name} is not a public address; [security] allow_urls lists URLs for which that is fine"
            raise CrossdockError(Code.INVALID, message)
        address = addresses[0]
        literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
        return Target(parts._replace(netloc=f"{literal}:{port}", fragment="").geturl(), parts.netloc, name)


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet, also when it is wrapped in one of another kind."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None or address in _NAT64:
            return False
    return address.is_global and not address.is_multicast


def _is_link_local(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_link_local


async def _look_up(name: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CrossdockError(Code.UNAVAILABLE, f"the name {name[:80]} cannot be found") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def within(url: str, prefix: str) -> bool:
    """Tell whether a URL is another one or below it, as whoever is asked for it will understand it.

    Scheme, host and port have to be equal, and the path continues after whole segments. A path with dot segments
    (RFC 3986, 5.2.4) or backslashes, also percent-encoded, is below nothing: each program makes another path of it.
    """
    given, allowed = urlsplit(url), urlsplit(prefix)
    path, below = given.path or "/", allowed.path or "/"
    if _origin(given) != _origin(allowed) or _climbs(path):
        return False
    return path == below or path.startswith(below if below.endswith("/") else f"{below}/")


def equal(url: str, other: str) -> bool:
    """Tell whether two URLs without query, fragment and credentials are the same, a slash at the end of the path aside."""
    try:
        one, two = urlsplit(url), urlsplit(other)
        same = _origin(one) == _origin(two) and one.path.removesuffix("/") == two.path.removesuffix("/")
    except ValueError:
        return False
    return same and one.username is None and not any(mark in url for mark in "?#")


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def _climbs(path: str) -> bool:
    plain = unquote(path)
    return "\\" in plain or any(segment in {".", ".."} for segment in plain.split("/"))
