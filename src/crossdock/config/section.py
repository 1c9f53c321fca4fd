"""What a table of the configuration is made of."""

from typing import Any

from msgspec import Meta, Struct


def about(description: str, *, unit: str | None = None, secret: bool = False, **limits: Any) -> Meta:
    """Describe a key.

    Args:
        description: one line for people.
        unit: ``bytes`` or ``seconds``; then texts like "32 MiB" are understood too.
        secret: the value is not quoted in errors.
        limits: those of ``msgspec.Meta``.
    """
    return Meta(description=description, extra={"unit": unit, "secret": secret}, **limits)


class Section(Struct, frozen=True, kw_only=True):
    """A table of the configuration."""
