"""Archives made of the files of a form, while they come."""

import zipfile
from collections.abc import AsyncIterator
from typing import Final

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.files.form import Part
from crossdock.runners.program.archives.policy import ArchiveLimits, Budget, Member, Refused

_MODE: Final = 0o100644 << 16
_ENOUGH: Final = 64 * 1024


async def zipped(parts: AsyncIterator[Part], folder: str, limits: ArchiveLimits) -> AsyncIterator[bytes]:
    """Yield the bytes of a zip file with the parts of a form, each under its field's name.

    Equal files make an equal archive: nothing in it tells when it was made.

    Args:
        parts: the files; their names are relative paths.
        folder: what the names begin with; empty: they stand at the root.
        limits: what names and how many are taken.

    Raises:
        CrossdockError: ``invalid`` for a name that leads elsewhere or is there twice, and without any file.
    """
    sink, budget, count = _Sink(), Budget(limits), 0
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type] - it only writes
        async for part in parts:
            entry = zipfile.ZipInfo(folder + _checked(budget, part.name))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            count += 1
            with archive.open(entry, "w", force_zip64=True) as file:
                async for piece in part.content:
                    file.write(piece)
                    if sink.size >= _ENOUGH:
                        yield sink.take()
    if not count:
        raise CrossdockError(Code.INVALID, "the form has no files")
    yield sink.take()


def _checked(budget: Budget, name: str) -> str:
    try:
        return "/".join(budget.admit(Member(name, directory=False)))
    except Refused as refused:
        raise CrossdockError(Code.INVALID, f"this is no submission: {refused}") from None


class _Sink:
    """A file that can only be written to; what was written is taken out again."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Add bytes."""
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nothing behind."""

    def take(self) -> bytes:
        """Return and forget what was written since the last time."""
        data, self._pieces, self.size = b"".join(self._pieces), [], 0
        return data
