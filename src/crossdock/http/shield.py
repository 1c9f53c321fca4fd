"""The outermost layer of every HTTP application: no error leaves it as anything but a problem document."""

import asyncio
import time
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import ProblemError, problem_response

Observe = Callable[[str, str, int, float], None]
"""Told of every answer: method, route template, status, seconds until it was complete."""

_log: Final[Any] = structlog.get_logger("crossdock.http")

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")
_LOCKED: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")


class Shield:
    """Pure ASGI middleware: problem documents for whatever escapes, security headers, HEAD as GET, and counting.

    Args:
        app: the application.
        observe: told of every answer.
    """

    def __init__(self, app: ASGIApp, observe: Observe | None = None) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(send)
        # uvicorn keeps its own copy of the method and drops the body of an answer to HEAD.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        started = time.perf_counter()
        try:
            await self._run(exchange, inner, receive)
        finally:
            if self._observe is not None:
                route = getattr(inner.get("route"), "path", "") or "unknown"
                self._observe(scope["method"], route, exchange.status, time.perf_counter() - started)

    async def _run(self, exchange: "_Exchange", scope: Scope, receive: Receive) -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            pass
        except CrossdockError as error:
            await self._answer(exchange, scope, receive, error)
        except asyncio.CancelledError:
            if not _stopping(scope):
                raise
            stopping = CrossdockError(Code.UNAVAILABLE, "the server is stopping: ask again")
            await self._answer(exchange, scope, receive, stopping)
        except Exception as error:  # noqa: BLE001 - the last place where a fault of ours can become an answer
            if not exchange.complete:
                await self._answer(exchange, scope, receive, internal(error, scope))

    async def _answer(self, exchange: "_Exchange", scope: Scope, receive: Receive, error: CrossdockError) -> None:
        if exchange.status == 0:
            await problem_response(error)(scope, receive, exchange.send)
        elif not exchange.complete:
            # Half an answer is out: breaking the connection is the only way left to say that it is not whole.
            raise error


class _Exchange:
    """What has been answered so far."""

    def __init__(self, send: Send) -> None:
        self.status = 0
        self.complete = False
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a message on, adding headers to the first."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            _secure(message)
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)


def internal(error: Exception, scope: MutableMapping[str, Any]) -> CrossdockError:
    """Log an unexpected error with its traceback; return what the client is told."""
    # As text, because loggers that show local variables would show keys and payloads.
    trace = "".join(traceback.format_exception(error))
    _log.error("request failed", method=scope.get("method"), path=scope.get("path"), trace=trace)
    return ProblemError(Code.INTERNAL, "something failed here that should not; the server's log says more", status=500)


def _secure(message: Message) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    names = {name.lower(): value for name, value in headers}
    headers.append(_NOSNIFF)
    if b"cache-control" not in names:
        headers.append(_NO_STORE)
    # Pages bring a policy of their own; nothing else that is served here is to be rendered or framed.
    if b"content-security-policy" not in names and not names.get(b"content-type", b"").startswith(b"text/"):
        headers.append(_LOCKED)
    message["headers"] = headers


def _stopping(scope: Scope) -> bool:
    event = scope.get("crossdock.stopping")
    return isinstance(event, asyncio.Event) and event.is_set()


__all__ = ["Observe", "Shield", "internal"]
