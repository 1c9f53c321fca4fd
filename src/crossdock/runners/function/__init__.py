"""Registered Python functions as jobs: the App, what its functions may say and raise, and the runner."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crossdock.runners.function.context import Context
    from crossdock.runners.function.loading import load_app
    from crossdock.runners.function.raised import Failed, Retry
    from crossdock.runners.function.registry import App
    from crossdock.runners.function.runner import FunctionRunner

# Looked up when they are first used: a child process starts in half the time if it does not import its parent's side.
_HOMES: Final = {
    "App": "registry",
    "Context": "context",
    "Failed": "raised",
    "FunctionRunner": "runner",
    "Retry": "raised",
    "load_app": "loading",
}

__all__ = ["App", "Context", "Failed", "FunctionRunner", "Retry", "load_app"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
