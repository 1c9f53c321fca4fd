"""The ``Prefer`` header (RFC 7240), as far as it is about waiting. No input, output or clock."""

from collections.abc import Sequence

from msgspec import Struct


class Preference(Struct, frozen=True):
    """Whether to answer at once, or how many seconds to wait for the job's end (None: no limit was given)."""

    respond_async: bool = False
    wait: int | None = None

    @property
    def applied(self) -> str:
        """The value of ``Preference-Applied`` when the answer does not wait (any longer)."""
        parts = ["respond-async"] if self.respond_async else []
        if self.wait is not None:
            parts.append(f"wait={self.wait}")
        return ", ".join(parts)


def parse_prefer(values: Sequence[str]) -> Preference:
    """Return what the ``Prefer`` headers of a request ask for; what is unknown or malformed is ignored, as RFC 7240 says."""
    respond_async = False
    wait: int | None = None
    for item in ",".join(values).split(","):
        name, _, value = item.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "respond-async":
            respond_async = True
        elif name.strip().lower() == "wait" and wait is None and _is_count(value):
            wait = int(value)
    return Preference(respond_async, wait)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6  # noqa: PLR2004 - digits of eleven days in seconds
