"""Sizes and durations as people write them: ``"32 MiB"``, ``"10 min"``. Plain numbers are bytes and seconds."""

import re
from typing import Final

_BYTES: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SECONDS: Final = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")

UNITS: Final = {"bytes": _BYTES, "seconds": _SECONDS}
"""The suffixes of each unit; the first has the size of a plain number, apart from seconds, which may have a fraction."""


def parse_quantity(text: str, unit: str) -> float:
    """Return the number of ``unit`` (a key of ``UNITS``) that ``text`` stands for.

    Raises:
        ValueError: the text is no number with a suffix of that unit; the message says what would be.
    """
    suffixes = UNITS[unit]
    match = _QUANTITY.fullmatch(text)
    if match is None or (match[2] and match[2].lower() not in suffixes):
        example = '"32 MiB"' if unit == "bytes" else '"10 min"'
        raise ValueError(f"expected a number of {unit} or a text like {example}, got {text!r}")
    return float(match[1]) * (suffixes[match[2].lower()] if match[2] else 1)
