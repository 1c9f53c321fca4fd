"""The errors that cross a boundary of the core: one class, a few codes.

Each wire has one table from code to its own status and back, so a remote caller catches what a local one would.
"""

from enum import StrEnum


class Code(StrEnum):
    """Why a request was refused."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_LEASE = "stale_lease"
    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class CrossdockError(Exception):
    """A request that could not be done.

    Args:
        code: the class of the problem, for programs.
        message: what happened and what to do about it, for people. It must not quote secrets or payloads.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class StoreFull(CrossdockError):
    """The disk under a store or the artifacts is full: nothing was written, and it may work again later."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


class StoreBroken(CrossdockError):
    """A write or fsync failed in a way that leaves the file's contents unknown: the process has to stop and recover."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INTERNAL, message)
