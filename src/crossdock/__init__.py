"""Takes long-running jobs in over any of several protocols, gives them to workers attached over any other, losing none."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crossdock.core.errors import CrossdockError
    from crossdock.protocols.ogc.client import Client
    from crossdock.runners.function.context import Context
    from crossdock.runners.function.raised import Failed, Retry
    from crossdock.runners.function.registry import App

# Looked up when they are first used: the core, the command line and the children all import this package.
_HOMES: Final = {
    "App": "crossdock.runners.function.registry",
    "Client": "crossdock.protocols.ogc.client",
    "Context": "crossdock.runners.function.context",
    "CrossdockError": "crossdock.core.errors",
    "Failed": "crossdock.runners.function.raised",
    "Retry": "crossdock.runners.function.raised",
}

__all__ = ["App", "Client", "Context", "CrossdockError", "Failed", "Retry"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
