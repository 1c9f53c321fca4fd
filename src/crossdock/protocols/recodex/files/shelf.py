"""The files of the file server: names in records, bytes in artifacts. No name ever becomes a path."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.jobs import ArtifactRef
from crossdock.core.ports import Artifacts, Clock, Records
from crossdock.core.requests import Record

_FILES: Final = "recodex.file"
_GONE: Final = "recodex.file.gone"
_SPARED: Final = 2 * 3600.0
"""Seconds after which bytes that nothing names any more are swept. Younger ones would be spared then, and stay for ever."""
_LOCKS: Final = 64


class Stored(Struct, frozen=True):
    """What a name stands for: the bytes, until when (seconds since 1970), and a note of whoever stored them."""

    ref: ArtifactRef
    expires: float
    note: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Stored).decode


class Shelf:
    """Keeps files by name, until they expire.

    Args:
        records: where the names are.
        artifacts: where the bytes are.
        clock: the time.
    """

    def __init__(self, records: Records, artifacts: Artifacts, clock: Clock) -> None:
        self.artifacts = artifacts
        self._records = records
        self._clock = clock
        # Whoever replaces a file has to know which one, to have its bytes swept.
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]

    async def store(
        self, name: str, content: AsyncIterator[bytes], keep: float, media_type: str, note: str = ""
    ) -> ArtifactRef:
        """Store a file as it comes, or replace one; it is there whole and durable on return, or not at all."""
        ref = await self.artifacts.put(content, media_type)
        await self.name(name, ref, keep, note)
        return ref

    async def name(self, name: str, ref: ArtifactRef, keep: float, note: str = "") -> None:
        """Give bytes that are stored a name for ``keep`` seconds."""
        expires = self._clock.wall() + keep
        records = [Record(_FILES, name, _encode(Stored(ref, expires, note)), expires, ref.digest)]
        async with self._locks[hash(name) % _LOCKS]:
            old = await self.find(name)
            if old is not None and old.ref.digest != ref.digest:
                records.append(self._gone(old.ref))
            await self._records.put(records)

    async def find(self, name: str) -> Stored | None:
        """Return what has a name and has not expired."""
        record = await self._records.get(_FILES, name)
        return None if record is None else _decode(record.value)

    async def renew(self, name: str, stored: Stored, keep: float) -> None:
        """Let a file that is in use stay, written at most once in half of ``keep`` seconds."""
        if stored.expires - self._clock.wall() < keep / 2:
            await self.name(name, stored.ref, keep, stored.note)

    async def discard(self, ref: ArtifactRef) -> None:
        """Have bytes swept that were stored and then not named."""
        await self._records.put([self._gone(ref)])

    def _gone(self, ref: ArtifactRef) -> Record:
        return Record(_GONE, ref.digest, b"", self._clock.wall() + _SPARED, ref.digest)
