"""Errors on the wire: problem documents (RFC 9457), and one table between our codes and HTTP statuses, both ways."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from crossdock.core.errors import Code, CrossdockError

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[Code, int]] = {
    Code.INVALID: 400,
    Code.UNAUTHORIZED: 401,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.STALE_LEASE: 412,
    Code.TOO_LARGE: 413,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}

_CODE: Final[Mapping[int, Code]] = {status: code for code, status in STATUS.items()} | {
    403: Code.UNAUTHORIZED,
    408: Code.UNAVAILABLE,
    410: Code.NOT_FOUND,
    429: Code.UNAVAILABLE,
    431: Code.TOO_LARGE,
    502: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}

_OGC: Final = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS: Final = _OGC + "no-such-process"
NO_SUCH_JOB: Final = _OGC + "no-such-job"
RESULT_NOT_READY: Final = _OGC + "result-not-ready"
INVALID_PARAMETER: Final = _OGC + "InvalidParameterValue"


class ProblemError(CrossdockError):
    """An error that says more about its HTTP answer than its code does.

    Args:
        code: the class of the problem.
        message: what happened and what to do about it.
        status: the HTTP status, if not that of the code.
        type: a URI that names the problem.
        headers: headers of the answer.
        members: additional members of the problem document.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        status: int | None = None,
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.status = status or STATUS[code]
        self.type = type
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def code_of(status: int) -> Code:
    """Return the code that a client should see for an HTTP status of 400 or more."""
    known = _CODE.get(status)
    if known is None:
        return Code.INVALID if status < HTTPStatus.INTERNAL_SERVER_ERROR else Code.INTERNAL
    return known


def document(error: CrossdockError) -> dict[str, object]:
    """Return the problem document of an error."""
    status, kind = STATUS[error.code], "about:blank"
    members: Mapping[str, object] = {}
    if isinstance(error, ProblemError):
        status, kind, members = error.status, error.type, error.members
    return {
        "type": kind,
        "title": _phrase(status),
        "status": status,
        "detail": error.message,
        "code": str(error.code),
        **members,
    }


def problem_response(error: CrossdockError) -> Response:
    """Return the HTTP answer for an error."""
    content = document(error)
    status = int(str(content["status"]))
    headers = dict(error.headers) if isinstance(error, ProblemError) else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("www-authenticate", 'Bearer realm="crossdock"')
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("retry-after", "1")
    return Response(msgspec.json.encode(content), status, headers, MEDIA_TYPE)


def read_problem(status: int, body: bytes) -> CrossdockError:
    """Return the error that an answer of 400 or more stands for; ``body`` need not be a problem document."""
    try:
        told = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = {}
    code = code_of(status)
    if told.get("code") in tuple(Code):
        code = Code(str(told["code"]))
    detail = told.get("detail")
    message = detail if isinstance(detail, str) and detail else f"the server answered {status} {_phrase(status)}"
    kind = told.pop("type", "about:blank")
    members = {name: told[name] for name in told.keys() - {"title", "status", "detail", "code"}}
    return ProblemError(code, message, status=status, type=str(kind), members=members)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
