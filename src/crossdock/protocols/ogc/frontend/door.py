"""What the routes share: the broker, who is calling, and how documents become answers."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import MemberId, decode_any, decode_id, encode_id
from crossdock.core.jobs import Job
from crossdock.core.kinds import Kind
from crossdock.core.requests import Query, Submit
from crossdock.http.auth import Authenticator, Caller, Scope
from crossdock.http.body import read_json
from crossdock.http.problems import NO_SUCH_JOB, NO_SUCH_PROCESS, ProblemError
from crossdock.protocols.ogc.codec import Message, decode

MEBIBYTE = 1024 * 1024


class OgcOptions(Struct, frozen=True, kw_only=True):
    """How the frontend behaves. Sizes are bytes, durations seconds.

    ``base_url`` is the server's address as clients see it, needed behind a proxy that changes it; otherwise links are
    made from the ``Host`` header. ``sync_seconds`` is how long a synchronous answer is waited for before the client is
    told where the job's status is. ``allow_urls`` are prefixes of callback URLs that may lead to private addresses.
    """

    title: str = "Crossdock"
    base_url: str = ""
    body_limit: int = 32 * MEBIBYTE
    artifact_limit: int = 4096 * MEBIBYTE
    sync_seconds: float = 600.0
    heartbeat_seconds: float = 15.0
    allow_urls: tuple[str, ...] = ()


class Door:
    """Everything a route reaches the rest of the program through."""

    def __init__(self, broker: Broker, options: OgcOptions, authenticator: Authenticator) -> None:
        self.broker = broker
        self.options = options
        self.authenticator = authenticator

    @staticmethod
    def of(request: Request) -> "Door":
        """Return the door of the application that serves a request."""
        door: Door = request.app.state.door
        return door

    def caller(self, request: Request, *scopes: Scope) -> Caller:
        """Return who is calling.

        Raises:
            CrossdockError: ``unauthorized`` without a valid key, or without any of the scopes.
        """
        caller = self.authenticator.caller(request.headers.get("authorization"))
        if scopes and caller.scopes.isdisjoint(scopes):
            caller.require(scopes[0])
        return caller

    def base(self, request: Request) -> str:
        """Return the server's URL as this client sees it, without a slash at the end."""
        if self.options.base_url:
            return self.options.base_url.rstrip("/")
        return f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"

    def kind(self, name: str) -> Kind:
        """Return a kind. Raises ``not_found``."""
        kind = self.broker.kinds.get(name)
        if kind is None:
            raise ProblemError(Code.NOT_FOUND, f"there is no process {name[:80]!r}", type=NO_SUCH_PROCESS)
        return kind

    async def job(self, caller: Caller, text: str) -> tuple[Job, int | None]:
        """Return a job by its id, and the position if the id is that of a member of it.

        Raises:
            ProblemError: ``not_found``, also for jobs of tenants that the caller does not see.
        """
        try:
            identifier = decode_any(text)
            position = identifier.index if isinstance(identifier, MemberId) else None
            job = await self.broker.intake.job(identifier.array if isinstance(identifier, MemberId) else identifier)
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            raise _no_such_job(text) from None
        if not caller.sees(job.tenant) or (position is not None and job.array is None):
            raise _no_such_job(text)
        return job, position

    async def whole_job(self, caller: Caller, text: str) -> Job:
        """Return a job by its id, which must not be that of a member. Raises as :meth:`job`, and ``invalid``."""
        job, position = await self.job(caller, text)
        if position is not None:
            raise CrossdockError(Code.INVALID, "this is done with the whole array: leave the position out of the id")
        return job

    async def submit(self, caller: Caller, submit: Submit) -> Submit:
        """Return a submit that the caller may make. Raises ``not_found`` if it comes after jobs that it does not see.

        A job is given the results of those that it comes after, so naming one is reading it.
        """
        if not caller.reads_all:
            for parent in dict.fromkeys(submit.after):
                await self.job(caller, encode_id(parent))
        return submit

    async def batch(self, caller: Caller, text: str, *, change: bool = False) -> int:
        """Return a batch's number by its id, if the caller may see it, or even ``change`` it. Raises ``not_found``."""
        problem = CrossdockError(Code.NOT_FOUND, f"there is no batch {text[:40]!r}")
        try:
            batch = decode_id(text)
        except CrossdockError:
            raise problem from None
        jobs = (await self.broker.intake.search(Query(batch=batch, limit=1))).jobs
        if not jobs or not caller.sees(jobs[0].tenant):
            raise problem
        if change:
            caller.require_own(jobs[0].tenant)
        return batch

    async def message(self, request: Request, message: type[Message]) -> Message:
        """Return the body of a request as a message. Raises ``invalid``, ``too_large``, ``unavailable``."""
        text, _ = await read_json(request, self.options.body_limit)
        return decode(text, message)


def tenant_for(caller: Caller, wanted: str | None) -> str:
    """Return the tenant that a submitted job belongs to.

    Raises:
        ProblemError: ``unauthorized`` if the caller may not submit for the tenant it names.
    """
    if wanted is None or wanted == caller.tenant:
        return caller.tenant
    caller.require(Scope.ADMIN)
    return wanted


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def _no_such_job(text: str) -> ProblemError:
    return ProblemError(Code.NOT_FOUND, f"there is no job {text[:40]!r}", type=NO_SUCH_JOB)
