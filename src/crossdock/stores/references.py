"""Which artifacts the things in a store refer to: what retention must not delete.

A payload or result may hold references inside: objects with a member ``digest``, as the client of an evaluation puts its
archive into the payload. They are found by their look, so a text that only looks like one keeps an artifact too long, and
none is deleted too early.
"""

import re
from collections.abc import Iterable
from typing import Final

from crossdock.core.changes import Block
from crossdock.core.jobs import ArtifactRef, Document, Job

_MEMBER: Final = b'"digest"'
_REFERENCE: Final = re.compile(rb'"digest"\s*:\s*"([0-9a-f]{64})"')


def job_digests(job: Job) -> Iterable[str]:
    """Return the digests that a job's payload, result and table of array parameters refer to."""
    if job.array is None and job.result is None:
        return document_digests(job.payload)  # nearly every submit ends here
    return _digests((job.payload, job.result, job.array.table if job.array else None))


def block_digests(block: Block) -> Iterable[str]:
    """Return the digests that the results of an array's members refer to."""
    return _digests(member.result for member in block.results)


def document_digests(document: Document | None) -> Iterable[str]:
    """Return the digests that a document refers to: itself, if it is an artifact."""
    if isinstance(document, ArtifactRef):
        return (document.digest,)
    if document is None or _MEMBER not in document:
        return ()
    return [digest.decode("ascii") for digest in _REFERENCE.findall(document)]


def _digests(documents: Iterable[Document | None]) -> Iterable[str]:
    return [digest for document in documents for digest in document_digests(document)]
