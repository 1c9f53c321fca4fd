"""URLs for evaluations that came in by other protocols: their submissions are artifacts, and plain workers know only URLs.

The URLs contain a secret, work without a password, and end with the attempt that they were made for.
"""

import hmac
import secrets
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crossdock.core.documents import load
from crossdock.core.identifiers import decode_id, encode_id
from crossdock.core.jobs import ArtifactRef, Document, Lease
from crossdock.core.ports import Artifacts, Clock, Records
from crossdock.core.requests import Record
from crossdock.http.body import stream_body
from crossdock.protocols.recodex.files.routing import ZIP, Door, download, envelope, missing, route
from crossdock.protocols.recodex.files.shelf import Shelf
from crossdock.runners.program.payload import EvaluationPayload

PATH: Final = "/worker-files/jobs"
_SPACE: Final = "recodex.published"
_SECRET: Final = 24
"""Random bytes."""


class _Published(Struct, frozen=True):
    """The newest attempt of a job: its fencing token, the secret of its URLs, and the submission if it is ours."""

    token: int
    secret: str
    submission: ArtifactRef | None


class _Result(Struct, frozen=True):
    """The result of a job whose results archive is here."""

    status: str
    archive: ArtifactRef


_payload: Final = msgspec.json.Decoder(EvaluationPayload)
_published: Final = msgspec.json.Decoder(_Published)
_encode: Final = msgspec.json.Encoder().encode


class Published:
    """The published files.

    Args:
        records: where it is noted what is published.
        artifacts: where submissions are.
        clock: the time.
        shelf: takes results.
        keep: seconds for which URLs and results stay.
        max_size: bytes of a result.
    """

    def __init__(
        self, records: Records, artifacts: Artifacts, clock: Clock, shelf: Shelf, *, keep: float, max_size: int
    ) -> None:
        self._records = records
        self._artifacts = artifacts
        self._clock = clock
        self._shelf = shelf
        self._keep = keep
        self._max_size = max_size

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        open_door = Door()
        return [
            route(f"{PATH}/{{job}}/{{secret}}/submission.zip", {"GET": self._get}, open_door),
            route(f"{PATH}/{{job}}/{{secret}}/results.zip", {"PUT": self._put}, open_door),
        ]

    async def publish(self, lease: Lease, base_url: str) -> tuple[str, str] | None:
        """Return the URLs of the submission and for the results; those that the payload names are returned as they are.

        Returns:
            None if the payload names no submission.
        """
        try:
            order = _payload.decode(await load(self._artifacts, lease.payload))
        except msgspec.DecodeError:
            return None
        ref = order.submission if isinstance(order.submission, ArtifactRef) else None
        secret = secrets.token_urlsafe(_SECRET)
        value = _encode(_Published(lease.token, secret, ref))
        digest = None if ref is None else ref.digest
        await self._records.put([Record(_SPACE, str(lease.job), value, self._clock.wall() + self._keep, digest)])
        base = f"{base_url.rstrip('/')}{PATH}/{encode_id(lease.job)}/{secret}"
        archive = f"{base}/submission.zip" if ref is not None else str(order.submission)
        return archive, order.result_url or f"{base}/results.zip"

    async def collect(self, lease: Lease) -> Document | None:
        """Return the result of a job: where the results archive is that came for this lease. None if none did."""
        stored = await self._shelf.find(_results(lease.job, lease.token))
        return None if stored is None else _encode(_Result("OK", stored.ref))

    async def _get(self, request: Request) -> Response:
        _, published = await self._find(request)
        if published.submission is None:
            raise missing()
        return await download(self._artifacts, published.submission)

    async def _put(self, request: Request) -> Response:
        job, published = await self._find(request)
        body = stream_body(request, self._max_size)
        await self._shelf.store(_results(job, published.token), body, self._keep, ZIP)
        return envelope()

    async def _find(self, request: Request) -> tuple[int, _Published]:
        job = decode_id(request.path_params["job"])
        record = await self._records.get(_SPACE, str(job))
        if record is None:
            raise missing()
        published = _published.decode(record.value)
        if not hmac.compare_digest(published.secret.encode(), request.path_params["secret"].encode()):
            raise missing()
        return job, published


def _results(job: int, token: int) -> str:
    # By lease: what an attempt that was given up puts late is nobody else's result.
    return f"published/{job}/{token}"
