"""Documents: JSON text that lives with the job while it is small, and as an artifact above."""

from typing import Final

from crossdock.core.jobs import ArtifactRef, Document
from crossdock.core.ports import Artifacts

INLINE_LIMIT: Final = 64 * 1024
"""Bytes up to which a payload or result lives with its job."""


def is_large(document: Document | None) -> bool:
    """Tell whether a document has to become an artifact. Asked first, it saves the usual case a coroutine."""
    return isinstance(document, bytes) and len(document) > INLINE_LIMIT


async def shelve(artifacts: Artifacts, document: Document) -> Document:
    """Return the document as it is kept: unchanged if small or at rest already, else as an artifact."""
    if isinstance(document, ArtifactRef) or len(document) <= INLINE_LIMIT:
        return document
    return await artifacts.put(document)


async def load(artifacts: Artifacts, document: Document) -> bytes:
    """Return the whole JSON text of a document."""
    if isinstance(document, bytes):
        return document
    return b"".join([chunk async for chunk in artifacts.read(document)])
