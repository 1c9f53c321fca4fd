"""What a Starlette or FastAPI application does with errors: the same problem documents on every route."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import INVALID_PARAMETER, ProblemError, code_of, problem_response
from crossdock.http.shield import internal

_METHOD_NOT_ALLOWED: Final = 405
_NOT_FOUND: Final = 404


async def _known(_: Request, error: Exception) -> Response:
    if not isinstance(error, CrossdockError):
        raise error
    return problem_response(error)


async def _routing(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    message = str(error.detail)
    if error.status_code == _METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(sorted(allowed_methods(request)))
        message = f"{request.method} is not possible here; possible are {headers['allow']}"
    elif error.status_code == _NOT_FOUND:
        message = f"there is nothing at {request.url.path[:100]}"
    code = code_of(error.status_code)
    return problem_response(ProblemError(code, message, status=error.status_code, headers=headers))


async def _parameters(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return problem_response(ProblemError(Code.INVALID, f"parameter {name}: {first['msg']}", type=INVALID_PARAMETER))


async def _unexpected(request: Request, error: Exception) -> Response:
    return problem_response(internal(error, request.scope))


def allowed_methods(request: Request) -> set[str]:
    """Return the methods that some route takes at the request's path."""
    return set(_methods(request.app.routes, request))


def _methods(routes: Iterable[Any], request: Request) -> Iterable[str]:
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            yield from getattr(route, "methods", None) or ()


EXCEPTION_HANDLERS: Final[Mapping[Any, Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    CrossdockError: _known,
    HTTPException: _routing,
    RequestValidationError: _parameters,
    Exception: _unexpected,
}
"""For the ``exception_handlers`` of an application."""
