"""What ``crossdock doctor`` says: one finding for each thing that it looked at."""

from enum import StrEnum

from msgspec import Struct


class Health(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(Struct, frozen=True):
    """What a check found, and what to do about it."""

    check: str
    health: Health
    text: str
