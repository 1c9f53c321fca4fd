"""Reading archives that strangers made: zip, and tar plain or compressed, into a fresh directory or not at all."""

from crossdock.runners.program.archives.policy import ArchiveLimits, Refused
from crossdock.runners.program.archives.unpack import unpack

__all__ = ["ArchiveLimits", "Refused", "unpack"]
