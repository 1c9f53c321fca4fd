"""Artifacts in an object store: content-addressed, streamed in both directions, there whole or not at all.

Content whose digest is not known yet is written to ``incoming/`` and renamed to its digest at the end. A digest's
modification time is its age: storing the same content again makes it young, so that a sweep, which decided to delete it a
moment ago, leaves it alone.
"""

import asyncio
import errno
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from crossdock.core.errors import Code, CrossdockError, StoreBroken, StoreFull
from crossdock.core.jobs import ArtifactRef

INCOMING: Final = "incoming"
KEEP: Final = 3600.0
"""Seconds for which an artifact stays although nothing refers to it yet."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PART: Final = 5 * 1024 * 1024
_PARTS_AT_ONCE: Final = 2
"""Bytes per part (S3 takes no smaller ones), and how many of them may be in memory per upload."""

_CHUNK: Final = 256 * 1024
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SPACE_TEXTS: Final = tuple(f"os error {number})" for number in _NO_SPACE)
"""How the library spells these; it passes no number on."""


class Settler(Protocol):
    """Makes what an object store has written survive a power cut, for stores that do not do so by themselves."""

    def content(self, path: str) -> None:
        """Return once the bytes of ``path`` are on disk."""
        ...

    def name(self, path: str) -> None:
        """Return once the name ``path`` is on disk."""
        ...


class ObjectArtifacts:
    """:class:`~crossdock.core.ports.Artifacts` in any store that obstore knows.

    Args:
        store: where the objects lie.
        settler: makes local writes durable; None if the store is durable by itself.
        keep: seconds for which :meth:`delete` spares young artifacts.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        store: ObjectStore,
        settler: Settler | None = None,
        *,
        keep: float = KEEP,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settler = settler
        self._keep = keep
        self._wall = wall
        # Between looking at an artifact's age and acting on it, nobody else may act.
        self._naming = asyncio.Lock()

    async def put(self, content: bytes | AsyncIterator[bytes], media_type: str = "application/json") -> ArtifactRef:
        """Store content; durable on return.

        Raises:
            StoreFull: there is no space; nothing was kept.
            StoreBroken: a write failed in a way that leaves open what is on disk.
        """
        incoming = f"{INCOMING}/{uuid.uuid4().hex}"
        measure = _Measure()
        try:
            if isinstance(content, bytes):
                measure.add(content)
                digest = measure.digest()
                if not await self._renew(digest):
                    await self._write(incoming, content)
                    await self._name(incoming, digest)
            else:
                await self._write(incoming, measure.through(content))
                digest = measure.digest()
                await self._name(incoming, digest)
        except BaseException:
            with suppress(BaseError, OSError):
                await obstore.delete_async(self._store, incoming)
            raise
        return ArtifactRef(digest, measure.size, media_type)

    async def read(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes ``start`` to ``end`` (exclusive; None: to the end). Raises ``not_found``."""
        stop = ref.size if end is None else min(end, ref.size)
        path = _path(ref.digest)
        try:
            if start >= stop:
                await obstore.head_async(self._store, path)
                return
            found = await obstore.get_async(self._store, path, options={"range": (start, stop)})
            async for chunk in found.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)
        except FileNotFoundError:
            raise CrossdockError(Code.NOT_FOUND, f"there is no artifact {ref.digest}") from None
        except BaseError as error:
            raise _translate(error) from error

    async def delete(self, digests: Sequence[str]) -> None:
        """Remove artifacts that are not young. What is gone already is no error."""
        for digest in digests:
            path = _path(digest)
            async with self._naming:
                age = await self._age(path)
                if age is not None and age >= self._keep:
                    await obstore.delete_async(self._store, path)

    async def _write(self, path: str, content: bytes | AsyncIterator[bytes]) -> None:
        try:
            await obstore.put_async(self._store, path, content, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
        except BaseError as error:
            raise _translate(error) from error
        if self._settler is not None:
            await _settle(self._settler.content, path)

    async def _name(self, incoming: str, digest: str) -> None:
        """Give complete content its name; a rename over the same content makes that young."""
        path = _path(digest)
        try:
            async with self._naming:
                await obstore.rename_async(self._store, incoming, path)
        except BaseError as error:
            raise _translate(error) from error
        if self._settler is not None:
            await _settle(self._settler.name, path)

    async def _renew(self, digest: str) -> bool:
        """Tell whether an artifact is there and young enough to be left as it is."""
        path = _path(digest)
        age = await self._age(path)
        if age is None or age >= self._keep / 2:
            return False
        if self._settler is not None:  # whoever is just storing the same content may not have come to this yet
            await _settle(self._settler.name, path)
        return True

    async def _age(self, path: str) -> float | None:
        try:
            found = await obstore.head_async(self._store, path)
        except FileNotFoundError:
            return None
        return self._wall() - found["last_modified"].timestamp()


class _Measure:
    """Digest and size of bytes that pass by."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)

    def digest(self) -> str:
        return self._hash.hexdigest()

    async def through(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.add(chunk)
            yield chunk


def _path(digest: str) -> str:
    """Return where an artifact lies. Raises ``not_found`` for what is no digest, so that no text becomes a path."""
    if not _DIGEST.fullmatch(digest):
        raise CrossdockError(Code.NOT_FOUND, f"{digest[:80]!r} is not the digest of an artifact")
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


async def _settle(action: Callable[[str], None], path: str) -> None:
    try:
        await asyncio.to_thread(action, path)
    except OSError as error:
        raise _translate(error) from error


def _translate(error: Exception) -> CrossdockError:
    text = str(error)
    if (isinstance(error, OSError) and error.errno in _NO_SPACE) or any(sign in text for sign in _NO_SPACE_TEXTS):
        return StoreFull("the disk under the artifacts is full; nothing was kept")
    return StoreBroken(f"the artifacts cannot be read or written: {text.partition(chr(10))[0]}")
