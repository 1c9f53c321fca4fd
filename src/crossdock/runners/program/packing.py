"""Making zips of what a job leaves."""

import zipfile
from typing import BinaryIO, Final

from crossdock.runners.program import tree
from crossdock.runners.program.tree import Parts

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_CHUNK: Final = 1 << 20


class TooMuch(Exception):
    """There is more to be packed than a zip should hold."""


def pack(root: int, parts: Parts, target: BinaryIO, top: str, limit: int) -> None:
    """Write a zip of all regular files of a directory, under the directory ``top``. The same files give the same bytes.

    Args:
        root: a directory of ours.
        parts: where below it the files are.
        target: where the zip goes.
        top: the first part of every name.
        limit: bytes of content.

    Raises:
        TooMuch: there are more.
        OSError: something cannot be read or written.
    """
    files = sorted(entry.parts for entry in tree.walk(root, parts) if not entry.directory)
    left = limit
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            info = zipfile.ZipInfo("/".join((top, *_printable(name[len(parts) :]))), _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with tree.open_file(root, name) as source, archive.open(info, "w") as member:
                while piece := source.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        raise TooMuch(f"there are more than {limit} bytes to be packed")
                    member.write(piece)


def _printable(parts: Parts) -> list[str]:
    """Return names without what is no text, as a zip cannot hold that."""
    return [part.encode("utf-8", "replace").decode() for part in parts]
