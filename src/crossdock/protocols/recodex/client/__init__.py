"""Clients of an evaluating server: over ZeroMQ, HTTP and WebSocket as ReCodEx has it, or over our own HTTP API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crossdock.protocols.recodex.client.asynchronous import AsyncRecodexClient
    from crossdock.protocols.recodex.client.blocking import RecodexClient
    from crossdock.protocols.recodex.client.native import NativeEvaluations

# Looked up when they are first used: who needs one of them need not have the libraries of the others.
_HOMES: Final = {"AsyncRecodexClient": "asynchronous", "NativeEvaluations": "native", "RecodexClient": "blocking"}

__all__ = ["AsyncRecodexClient", "NativeEvaluations", "RecodexClient"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
