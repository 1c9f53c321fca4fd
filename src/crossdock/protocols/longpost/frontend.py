"""The LONGPOST door: ``POST /longpost/KIND``. HTTP only; the protocol is in :mod:`.session`."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.ports import Artifacts, Clock, Intake, Records
from crossdock.http.auth import ANONYMOUS, Authenticator, Caller
from crossdock.http.auth import Scope as Permission
from crossdock.http.body import read_body, require_json
from crossdock.http.connection import address_group
from crossdock.http.problems import ProblemError, code_of, problem_response
from crossdock.http.shield import internal
from crossdock.http.strict_json import parse
from crossdock.protocols.longpost import messages
from crossdock.protocols.longpost.codec import decode_request, encode_reply
from crossdock.protocols.longpost.errands import Errands, Ports, Visit
from crossdock.protocols.longpost.options import LongpostOptions
from crossdock.protocols.longpost.origins import Origins
from crossdock.protocols.longpost.session import Terms, serve

_METHODS: Final = "POST, OPTIONS"
_NO_STORE: Final = {"cache-control": "no-store"}
_group: Final = lru_cache(4096)(address_group)


def routes(
    intake: Intake,
    records: Records,
    artifacts: Artifacts,
    clock: Clock,
    kinds: Mapping[str, Kind],
    options: LongpostOptions | None = None,
    authenticator: Authenticator | None = None,
) -> list[BaseRoute]:
    """Return the routes of the frontend, for any Starlette or FastAPI application.

    Args:
        intake: the broker as clients see it.
        records: where tokens and cargo are kept.
        artifacts: where large results lie.
        clock: the time.
        kinds: what can be started.
        options: chunk size, times, origins and limits.
        authenticator: the API keys; without, everybody may call.
    """
    door = Door(Ports(intake, records, artifacts, clock), kinds, options or LongpostOptions(), authenticator)
    paths = ("/longpost/{kind}", "/longpost/{kind}/", "/longpost", "/longpost/{below:path}")
    # As an ASGI application, not a function: then Starlette leaves the methods to it.
    return [Route(path, door, include_in_schema=False) for path in paths]


class Door:
    """An ASGI application that answers LONGPOST requests of every kind."""

    def __init__(
        self,
        ports: Ports,
        kinds: Mapping[str, Kind],
        options: LongpostOptions,
        authenticator: Authenticator | None = None,
    ) -> None:
        self._kinds = kinds
        self._options = options
        self._authenticator = authenticator or Authenticator()
        self._origins = Origins(options.origins)
        self._errands = Errands(ports, options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; whatever goes wrong, a page from an allowed origin can read why."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            raise
        except CrossdockError as error:
            response = problem_response(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours has to carry the CORS headers too
            response = problem_response(internal(error, scope))
        if self._options.origins:
            response.headers.update(self._origins.headers(request.headers.get("origin")))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":  # also for unknown kinds: else a page could not read the 404 that follows
            headers = {"allow": _METHODS, **self._origins.preflight(request.headers.get("origin"))}
            return Response(status_code=204, headers=headers)
        kind = self._kinds.get(request.path_params.get("kind", ""))
        if kind is None:
            raise CrossdockError(Code.NOT_FOUND, "there is no such kind of job here")
        if request.method != "POST":
            text = f"{request.method} is not possible here: LONGPOST is spoken with POST"
            raise ProblemError(Code.INVALID, text, status=405, headers={"allow": _METHODS})
        caller = self._caller(request, kind)
        require_json(request)
        message = decode_request(await read_body(request, self._options.max_body))
        _permit(caller, message)
        if isinstance(message, messages.Start):
            await parse(message.payload)
        visit = Visit(kind.name, caller.tenant, _address(request), caller is not ANONYMOUS)
        outcome = await self._errands.run(serve(message, Terms(caller.tenant, self._options.result_ttl)), visit)
        if isinstance(outcome, messages.Failure):
            raise _problem(outcome)
        return Response(encode_reply(outcome), headers=_NO_STORE, media_type="application/json")

    def _caller(self, request: Request, kind: Kind) -> Caller:
        authorization = request.headers.get("authorization")
        if authorization is None and (kind.public or self._options.public):
            return ANONYMOUS
        return self._authenticator.caller(authorization)


def _permit(caller: Caller, message: messages.Request) -> None:
    """Refuse what the caller's key is not for. Whoever may start a task may also have what comes of it."""
    if isinstance(message, messages.Start):
        caller.require(Permission.SUBMIT)
    elif not caller.sees(caller.tenant):
        caller.require(Permission.READ_OWN)


def _address(request: Request) -> str:
    return _group(request.client.host) if request.client else "local"


def _problem(failure: messages.Failure) -> ProblemError:
    headers = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    return ProblemError(code_of(failure.status), failure.message, status=failure.status, headers=headers)
