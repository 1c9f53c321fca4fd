"""Which web pages may call: the CORS headers of every answer, failures included."""

from typing import Final

_ANY: Final = "*"
_MAX_AGE: Final = "600"


class Origins:
    """The web origins that are allowed.

    Args:
        allowed: origins such as ``https://example.org``, or ``*`` for all; none switches CORS off.
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = frozenset(allowed)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers for an answer to a page from ``origin``."""
        if not self._allowed:
            return {}
        if _ANY in self._allowed:
            return {"access-control-allow-origin": _ANY, "access-control-expose-headers": "retry-after"}
        if origin is None or origin not in self._allowed:
            return {"vary": "origin"}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": "retry-after",
            "vary": "origin",
        }

    def preflight(self, origin: str | None) -> dict[str, str]:
        """Return the headers for the answer to ``OPTIONS``. A page that may not call learns nothing from it."""
        headers = self.headers(origin)
        if "access-control-allow-origin" in headers:
            headers |= {
                "access-control-allow-methods": "POST",
                "access-control-allow-headers": "content-type, authorization",
                "access-control-max-age": _MAX_AGE,
            }
        return headers
