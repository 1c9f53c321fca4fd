"""The file server: what ReCodEx workers get their submissions from and put their results to.

It knows the paths of both generations. Below ``/worker-files`` are those that today's web application serves itself; here
archives and exercise files can also be put there. At the root are those of the old file server. Both name the same files:
``result/student/1`` is ``results/student_1.zip``. Names are keys of records and bytes are artifacts, so no name is a path.

Submissions, results and attachments expire after some days. Exercise files, which are named by their SHA-1, stay as long as
they are used. Evaluations that came in by other protocols get URLs of their own, see :mod:`.published`.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Literal
from urllib.parse import quote

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Document, Lease
from crossdock.core.ports import Artifacts, Clock, Records
from crossdock.http.body import stream_body
from crossdock.protocols.recodex.files.form import Part, read_form
from crossdock.protocols.recodex.files.packing import zipped
from crossdock.protocols.recodex.files.published import Published
from crossdock.protocols.recodex.files.routing import (
    BYTES,
    ZIP,
    Door,
    Handler,
    Sha1,
    document,
    download,
    envelope,
    missing,
    plain,
    route,
)
from crossdock.protocols.recodex.files.shelf import Shelf, Stored
from crossdock.runners.program.archives.policy import ArchiveLimits

_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_TYPES: Final = ("student", "reference")
_NAME: Final = 255
_DAY: Final = 86400.0
_MOST_FILES: Final = 2000

Key = Callable[[Request], str]


class FilesOptions(Struct, frozen=True, kw_only=True):
    """The table ``[files]``. Sizes are bytes, durations seconds.

    With neither a name nor a password everybody may come in. ``max_size`` limits each file and each form. ``keep`` is how
    long submissions and results stay, ``keep_exercises`` how long an exercise file stays after its last use. ``layout`` says
    where in archives made of forms the files are: at the root, as workers since 2020 want it, or in a directory named like
    the archive, as those before did.
    """

    username: str = ""
    password: str = ""
    max_size: int = 256 * 2**20
    keep: float = 7 * _DAY
    keep_exercises: float = 365 * _DAY
    layout: Literal["root", "directory"] = "root"


class FileServer:
    """The file server's routes, and the URLs of published evaluations.

    Args:
        options: who may come in, and how much is kept how long.
        records: where names are kept.
        artifacts: where bytes are kept.
        clock: the time.
        base_url: the server's address as workers see it; without one nothing can be published.
    """

    def __init__(
        self, options: FilesOptions, records: Records, artifacts: Artifacts, clock: Clock, base_url: str = ""
    ) -> None:
        self.base_url = base_url  # may be set later: with port 0 it is known once the HTTP server listens
        self._options = options
        self._artifacts = artifacts
        self._shelf = Shelf(records, artifacts, clock)
        self._published = Published(records, artifacts, clock, self._shelf, keep=options.keep, max_size=options.max_size)

    def routes(self) -> list[BaseRoute]:
        """Return the routes, for any Starlette or FastAPI application."""
        exercise: Mapping[str, Handler] = {"GET": self._get_exercise, "PUT": self._put_exercise}
        exercises: Mapping[str, Handler] = {"POST": self._post_exercises}
        table = {
            "/worker-files/submission-archive/{type}/{name}": self._files(_of_job("archive"), ZIP, envelope),
            "/worker-files/result/{type}/{name}": self._files(_of_job("result"), ZIP, envelope),
            "/worker-files/exercise-file/{hash}": exercise,
            "/worker-files/supplementary-file/{hash}": exercise,
            "/submissions/{name}": {"POST": self._post_submission},
            "/submission_archives/{name}": self._files(_named("archive"), ZIP, plain),
            "/results/{name}": self._files(_named("result"), ZIP, plain),
            "/attachments/{name}": self._files(_named("attachment"), BYTES, plain),
            "/exercises": exercises,
            "/tasks": exercises,
            "/exercises/{hash}": exercise,
            "/tasks/{hash}": exercise,
        }
        door = Door(self._options.username, self._options.password)
        routes = [route(path, handlers, door) for path, handlers in table.items()]
        return [*routes, *self._published.routes()]

    async def publish(self, lease: Lease) -> tuple[str, str] | None:
        """Return URLs by which a worker gets the submission of an evaluation and delivers its results.

        Returns:
            None if the payload names no submission, or the server's address is not known.
        """
        return await self._published.publish(lease, self.base_url) if self.base_url else None

    async def collect(self, lease: Lease) -> Document | None:
        """Return the result of a published evaluation: where its results archive is. None if none came."""
        return await self._published.collect(lease)

    # Files by name

    def _files(self, key: Key, media_type: str, answer: Callable[[], Response]) -> Mapping[str, Handler]:
        async def get(request: Request) -> Response:
            return await download(self._artifacts, (await self._find(key(request))).ref)

        async def put(request: Request) -> Response:
            name = key(request)
            await self._shelf.store(name, self._body(request), self._options.keep, media_type)
            return answer()

        return {"GET": get, "PUT": put}

    async def _find(self, key: str) -> Stored:
        stored = await self._shelf.find(key)
        if stored is None:
            raise missing()
        return stored

    def _body(self, request: Request) -> AsyncIterator[bytes]:
        return stream_body(request, self._options.max_size)

    # Forms

    def _form(self, request: Request) -> AsyncIterator[Part]:
        return read_form(request.headers.get("content-type", ""), self._body(request))

    async def _post_submission(self, request: Request) -> Response:
        """Make an archive of the files of a form; a second form of the same name replaces the first."""
        name = _checked(request.path_params["name"])
        folder = f"{name}/" if self._options.layout == "directory" else ""
        archive = zipped(self._form(request), folder, ArchiveLimits(members=_MOST_FILES))
        await self._shelf.store(f"archive/{name}.zip", archive, self._options.keep, ZIP)
        quoted = quote(name, safe="")
        return document({"archive_path": f"/submission_archives/{quoted}.zip", "result_path": f"/results/{quoted}.zip"})

    async def _post_exercises(self, request: Request) -> Response:
        """Store the files of a form under their SHA-1."""
        paths: dict[str, str] = {}
        count = 0
        async for part in self._form(request):
            count += 1
            if count > _MOST_FILES:
                raise CrossdockError(Code.INVALID, f"the form has more than {_MOST_FILES} files")
            sha1 = Sha1()
            ref = await self._artifacts.put(sha1.through(part.content), BYTES)
            await self._shelf.name(f"exercise/{sha1.digest()}", ref, self._options.keep_exercises)
            paths[part.name] = f"/exercises/{sha1.digest()}"
        return document({"result": "OK", "files": paths})

    # Exercise files

    async def _get_exercise(self, request: Request) -> Response:
        key = f"exercise/{_hash(request)}"
        stored = await self._find(key)
        await self._shelf.renew(key, stored, self._options.keep_exercises)
        return await download(self._artifacts, stored.ref)

    async def _put_exercise(self, request: Request) -> Response:
        expected, sha1 = _hash(request), Sha1()
        ref = await self._artifacts.put(sha1.through(self._body(request)), BYTES)
        if sha1.digest() != expected:
            await self._shelf.discard(ref)
            raise CrossdockError(Code.INVALID, f"the SHA-1 of what came is {sha1.digest()}, not {expected}")
        await self._shelf.name(f"exercise/{expected}", ref, self._options.keep_exercises)
        return envelope()


def _named(space: str) -> Key:
    """Return what finds the key of a file by the last part of its path."""
    return lambda request: f"{space}/{_checked(request.path_params['name'])}"


def _of_job(space: str) -> Key:
    """Return what finds the key of a file of a job, given by its type and the rest of its id."""

    def key(request: Request) -> str:
        job_type, name = request.path_params["type"], request.path_params["name"]
        if job_type not in _TYPES:
            raise CrossdockError(Code.INVALID, f"there are jobs of type {' and '.join(_TYPES)} only")
        return f"{space}/{_checked(f'{job_type}_{name}')}.zip"

    return key


def _checked(name: str) -> str:
    if len(name) > _NAME:
        raise CrossdockError(Code.INVALID, f"a name has at most {_NAME} characters")
    return name


def _hash(request: Request) -> str:
    digest: str = request.path_params["hash"].lower()
    if not _SHA1.fullmatch(digest):
        raise CrossdockError(Code.NOT_FOUND, "exercise files are named by the 40 hexadecimal digits of their SHA-1")
    return digest
