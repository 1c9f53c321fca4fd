"""How much there is in a JSON text, found without building it: a short text can stand for a lot of memory."""

import re
from typing import Final

from crossdock.core.errors import Code, CrossdockError

MAX_VALUES: Final = 2_500_000
"""Objects, arrays and further members that one text may have: some 200 MB of Python objects at the most."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def check_size(text: bytes) -> None:
    """Refuse a text with too many values in it.

    Raises:
        CrossdockError: ``too_large``.
    """
    # Commas and brackets inside of strings do not count; looking for strings is only worth it when it decides.
    if _marks(text) > MAX_VALUES and _marks(_STRINGS.sub(b"", text)) > MAX_VALUES:
        message = f"the JSON text has more than {MAX_VALUES:,} values; submit an array over a range, or store them as a file"
        raise CrossdockError(Code.TOO_LARGE, message)


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")
