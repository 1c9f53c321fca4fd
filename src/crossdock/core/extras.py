"""Packages that are installed only where they are wanted."""

from collections.abc import Generator
from contextlib import contextmanager

from crossdock.core.errors import Code, CrossdockError


@contextmanager
def extra(name: str, what: str) -> Generator[None]:
    """Say which extra to install if an import inside finds a package missing.

    Args:
        name: the extra.
        what: what needs it, as the beginning of a sentence: "``evaluate`` needs".

    Raises:
        CrossdockError: ``invalid``.
    """
    try:
        yield
    except ImportError as error:
        text = f"{what} more packages ({error.name}): pip install 'crossdock[{name}]'"
        raise CrossdockError(Code.INVALID, text) from None
