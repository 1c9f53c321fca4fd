"""What an answer has instead of large data: where they lie. As our node writes it, and as clients and nodes read it."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.messages import Notification


class Reference(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A URL of data, and how many bytes they are."""

    result_ref: str
    size: int


write_reference: Final[Callable[[Reference], bytes]] = msgspec.json.Encoder().encode
"""Returns the data of an answer whose result has to be fetched."""
_decode: Final[Callable[[bytes], Reference]] = msgspec.json.Decoder(Reference).decode


def reference_of(notification: Notification) -> Reference | None:
    """Return where the data of an answer lie, None if they are in it."""
    if notification.status != "success" or notification.data is None or b'"resultRef"' not in notification.data:
        return None
    try:
        return _decode(notification.data)
    except msgspec.ValidationError:
        return None


def check_reference(reference: Reference, largest: int) -> None:
    """Raise ``too_large`` for more than is wanted, ``invalid`` for what is no address of a web server."""
    if not reference.result_ref.startswith(("http://", "https://")):
        raise CrossdockError(Code.INVALID, "the answer names its data by something that is no http or https URL")
    if reference.size > largest:
        raise too_large(largest)


def too_large(largest: int) -> CrossdockError:
    """Return the error for data that are larger than they may be."""
    return CrossdockError(Code.TOO_LARGE, f"the data of the answer have more than {largest:,} bytes")
