"""A worker's link to a broker elsewhere: the ports ``Dispatch`` and ``Artifacts`` over HTTP."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Lease, MemberOutcome, Outcome
from crossdock.core.requests import Note, Renewal, Verdict, WorkerInfo
from crossdock.http.problems import read_problem
from crossdock.protocols.ogc.async_connection import AsyncConnection
from crossdock.protocols.ogc.calls import unreachable
from crossdock.protocols.ogc.client import TIMEOUT
from crossdock.protocols.ogc.link_messages import MAX_WAIT, Attach, Claim, Claimed, MemberReport, Renew

Answer = TypeVar("Answer")

_JSON: Final = {"content-type": "application/json"}


class Link(AsyncConnection):
    """A worker's way to a server, on which every failure is a :class:`CrossdockError`.

    Args:
        url: the server's address.
        key: an API key with the scope ``work``, if the server has keys.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = TIMEOUT) -> None:
        # Every running attempt may report while claims wait, so the pool must not make a heartbeat wait for a connection.
        super().__init__(url, key, timeout, connections=None)

    async def post(self, path: str, message: object, answer: type[Answer], extra: float = 0.0) -> Answer:
        """Send a message and return the answer; ``extra`` seconds are added to the time it may take."""
        return decoded(await self.ask("POST", path, msgspec.json.encode(message), _JSON, extra), answer)

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        extra: float = 0.0,
    ) -> bytes:
        """Send a request and return the body of its answer.

        Raises:
            CrossdockError: what the server said, or ``unavailable`` if it cannot be reached.
        """
        response = await self.request(method, path, content=content, headers=headers, extra=extra)
        if response.is_error:
            raise read_problem(response.status_code, response.content)
        return response.content


class HttpDispatch:
    """Implements :class:`~crossdock.core.ports.Dispatch`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def attach(self, worker: WorkerInfo, tokens: Sequence[int] = ()) -> Renewal:
        """Introduce a worker; ``tokens`` are leases it still holds from before."""
        return await self._link.post("/workers", Attach(worker, list(tokens)), Renewal)

    async def detach(self, worker: str) -> None:
        """Forget a worker; what it has leased and not reported is handed back."""
        await self._link.ask("DELETE", _worker(worker))

    async def claim(self, worker: str, limit: int, wait: float = 0.0) -> list[Lease]:
        """Return up to ``limit`` leases; longer waits than the link allows end early and without any."""
        wait = min(wait, MAX_WAIT)
        return (await self._link.post(f"{_worker(worker)}/claim", Claim(min(limit, 1000), wait), Claimed, wait)).leases

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        """Say that these leases are alive; learn which are not any more, and which should stop."""
        return await self._link.post(f"{_worker(worker)}/renew", Renew(list(tokens)), Renewal)

    async def note(self, token: int, note: Note) -> None:
        """Record progress or a log line of a running attempt."""
        await self._link.ask("POST", f"/leases/{token}/notes", msgspec.json.encode(note), _JSON)

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        """End an attempt. The verdict is durable on return; repeating a report that may have arrived is harmless."""
        return await self._link.post(f"/leases/{token}/report", outcome, Verdict)

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        """Record outcomes of members of a leased array chunk."""
        return await self._link.post(f"/leases/{token}/members", MemberReport(list(outcomes)), Verdict)


class HttpArtifacts:
    """Implements :class:`~crossdock.core.ports.Artifacts` with the bytes at the server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, content: bytes | AsyncIterator[bytes], media_type: str = "application/json") -> ArtifactRef:
        """Store content at the server; durable on return."""
        headers = {"content-type": media_type}
        if isinstance(content, bytes):
            digest = hashlib.sha256(content).hexdigest()
            return decoded(await self._link.ask("PUT", f"/artifacts/{digest}", content, headers), ArtifactRef)
        return decoded(await self._link.ask("POST", "/artifacts", content, headers), ArtifactRef)

    async def read(self, ref: ArtifactRef, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Stream the bytes ``start`` to ``end`` (exclusive; None: to the end). Raises ``not_found``."""
        stop = ref.size if end is None else min(end, ref.size)
        if start >= stop and ref.size:
            return
        headers = {"range": f"bytes={start}-{stop - 1}"} if stop - start < ref.size else {}
        path = f"/artifacts/{ref.digest}"
        try:
            async with self._link.http.stream("GET", path, params={"size": ref.size}, headers=headers) as response:
                if response.is_error:
                    raise read_problem(response.status_code, await response.aread())
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.HTTPError as error:
            raise unreachable(self._link.url, error) from error

    async def delete(self, digests: Sequence[str]) -> None:
        """Refuse: the server sweeps its artifacts itself."""
        del digests
        _ask_server()


def decoded(body: bytes, answer: type[Answer]) -> Answer:
    """Return the answer in a body.

    Raises:
        CrossdockError: ``internal`` if it cannot be understood, as from a server of another version.
    """
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise CrossdockError(Code.INTERNAL, f"the server's answer cannot be understood: {error}") from None


def _worker(worker: str) -> str:
    return f"/workers/{quote(worker, safe='')}"


def _ask_server() -> NoReturn:
    raise CrossdockError(Code.INVALID, "this is not asked over a worker's link but of the server itself")
