"""What an archive may hold, whatever its format. Nothing that a header says is believed: what is really read is counted."""

import re
import unicodedata
from typing import Final

from msgspec import Struct

CHUNK: Final = 64 * 1024
"""Bytes that are held at a time."""

_FREE: Final = 1 << 20
"""Bytes up to which the ratio does not matter: small files of one repeated character are honest."""

_NAME: Final = 1024
_PART: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)", re.IGNORECASE)


class Refused(ValueError):
    """An archive is damaged, of an unknown kind, or not one to be unpacked. The message is for people."""


class ArchiveLimits(Struct, frozen=True, kw_only=True):
    """How much an archive may be. Sizes are bytes.

    ``ratio`` is how many bytes may come of one. ``decoder`` is the memory that a decompressor may ask for, as xz names its
    needs in the file.
    """

    archive: int = 32 << 20
    members: int = 2000
    total: int = 64 << 20
    ratio: int = 200
    depth: int = 16
    decoder: int = 48 << 20


class Member(Struct, frozen=True):
    """A file or directory as an archive describes it."""

    name: str
    directory: bool


class Budget:
    """Counts what comes out of one archive and knows its names."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self.limits = limits
        self._members = 0
        self._bytes = 0
        self._names: dict[str, bool] = {}

    def admit(self, member: Member) -> tuple[str, ...]:
        """Return the parts of a member's name, which is one to be written.

        Raises:
            Refused: the name leads elsewhere, is there already (also by case or by Unicode form), or is one too many.
        """
        self._members += 1
        if self._members > self.limits.members:
            raise Refused(f"it has more than {self.limits.members} members")
        parts = name_parts(member.name, self.limits.depth)
        key = unicodedata.normalize("NFC", "/".join(parts)).casefold()
        if key in self._names and not (member.directory and self._names[key]):
            raise Refused(f"{_shown(member.name)} is in it twice")
        above = key
        while "/" in above:
            above = above.rpartition("/")[0]
            if self._names.get(above) is False:
                raise Refused(f"{_shown(member.name)} is below a file")
            if above in self._names:
                break
            self._names[above] = True
        self._names[key] = member.directory
        return parts

    def count(self, size: int) -> None:
        """Count bytes of content. Raises :class:`Refused` above the limit."""
        self._bytes += size
        if self._bytes > self.limits.total:
            raise Refused(f"it has more than {self.limits.total} bytes of content")

    def check_ratio(self, given: int, compressed: int) -> None:
        """Compare what came out with what went in. Raises :class:`Refused` for a bomb."""
        if given > _FREE and given > self.limits.ratio * max(compressed, 1):
            raise Refused(f"it swells to more than {self.limits.ratio} times its size")


def name_parts(name: str, depth: int) -> tuple[str, ...]:
    """Return the parts of a relative name.

    Raises:
        Refused: it is absolute, climbs, is too long or too deep, or has characters or words that some system takes amiss.
    """
    if _CONTROL.search(name) or "\\" in name:
        raise Refused(f"{_shown(name)} has characters that no name should have")
    if name.startswith("/") or _DRIVE.match(name):
        raise Refused(f"{_shown(name)} is an absolute name")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not parts or ".." in parts:
        raise Refused(f"{_shown(name)} leads out of the archive")
    try:
        long = len(name) > _NAME or any(len(part.encode()) > _PART for part in parts)
    except UnicodeEncodeError:
        raise Refused(f"{_shown(name)} is no text") from None
    if long or len(parts) > depth:
        raise Refused(f"{_shown(name)} is too long or too deep")
    if any(_DEVICE.match(part) for part in parts):
        raise Refused(f"{_shown(name)} is the name of a device on some systems")
    return parts


def _shown(name: str) -> str:
    return ascii(name[:80])
