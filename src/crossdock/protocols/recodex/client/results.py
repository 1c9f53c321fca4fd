"""What a worker found out: the file ``result.yml``, alone or in its archive, from a server that need not be trusted."""

import io
import math
import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.yamltext import Fields, Node, NotYaml, Scalar, WrongShape, parse

RESULT: Final = "result/result.yml"
RESULT_BYTES: Final = 16 * 2**20
"""Bytes of a ``result.yml`` that are read at most."""
RESULT_NODES: Final = 500_000
"""Keys and values of it: the results of a task say more than its configuration."""
ARCHIVE_BYTES: Final = 256 * 2**20
"""Bytes of an archive of results that are taken at most."""

_END: Final = 22
_DIRECTORY_BYTES: Final = 2 * 2**20
_LONGEST_COMMENT: Final = 0xFFFF

OK: Final = "OK"
FAILED: Final = "FAILED"
SKIPPED: Final = "SKIPPED"


class SandboxResult(Struct, frozen=True, kw_only=True):
    """What the sandbox says of a program: times in seconds, memory in KiB, ``status`` OK, RE, SG, TO or XX."""

    status: str
    exitcode: int = 0
    exitsig: int = 0
    time: float = 0.0
    wall_time: float = 0.0
    memory: int = 0
    killed: bool = False
    message: str = ""


class TaskResult(Struct, frozen=True, kw_only=True):
    """How a task ended: ``status`` is OK, FAILED or SKIPPED. ``sandbox`` is None if nothing ran in one."""

    id: str
    status: str
    error: str = ""
    stdout: str = ""
    stderr: str = ""
    sandbox: SandboxResult | None = None


class Results(Struct, frozen=True, kw_only=True):
    """The results of a job, in the order in which its tasks ran."""

    job_id: str
    group: str
    tasks: tuple[TaskResult, ...]


def read_result_file(text: bytes) -> Results:
    """Return what a ``result.yml`` says.

    Raises:
        CrossdockError: ``internal`` if it cannot be understood: that is the server's fault, not the caller's.
    """
    with _as_servers_fault():
        return _results(parse(text, RESULT_BYTES, RESULT_NODES, nul=True))


def read_result_document(document: object) -> Results:
    """Return what the same content says as JSON, where numbers and booleans are not texts.

    Raises:
        CrossdockError: ``internal``, as :func:`read_result_file`.
    """
    with _as_servers_fault():
        return _results(_as_node(document))


def read_result_archive(archive: bytes) -> Results:
    """Return what the ``result.yml`` in an archive of results says; nothing else of the archive is unpacked.

    Raises:
        CrossdockError: ``internal``, as :func:`read_result_file`.
    """
    _check_directory(archive)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(RESULT) as file:
            text = file.read(RESULT_BYTES + 1)
    except KeyError:
        raise CrossdockError(Code.INTERNAL, f"the archive of results has no {RESULT}") from None
    except Exception as error:  # the parser of the standard library leaks what it pleases on crafted input
        raise CrossdockError(Code.INTERNAL, f"the archive of results cannot be read: {error}"[:200]) from error
    return read_result_file(text)


@contextmanager
def _as_servers_fault() -> Generator[None, None, None]:
    try:
        yield
    except (NotYaml, WrongShape) as error:
        said = " ".join(str(error).split())[:300]
        shown = f"{RESULT} is no YAML that can be used: {said}" if isinstance(error, NotYaml) else said
        raise CrossdockError(Code.INTERNAL, f"the results cannot be understood: {shown}") from error


def _check_directory(archive: bytes) -> None:
    """Refuse an archive whose directory is so large that reading it is an attack."""
    end = archive.rfind(b"PK\5\6", max(0, len(archive) - _END - _LONGEST_COMMENT))
    if end < 0 or end + _END > len(archive):
        raise CrossdockError(Code.INTERNAL, "the archive of results is no zip")
    size = int.from_bytes(archive[end + 12 : end + 16], "little")
    if size > _DIRECTORY_BYTES or b"PK\6\7" in archive[max(0, end - 20) : end]:
        raise CrossdockError(Code.INTERNAL, "the archive of results has too many files")


def _results(node: Node) -> Results:
    root = Fields(node, RESULT)
    return Results(
        job_id=root.text("job-id", ""),
        group=root.text("hw-group", ""),
        tasks=tuple(_task(fields) for fields in root.each("results")),
    )


def _task(fields: Fields) -> TaskResult:
    identifier = fields.text("task-id")
    fields.place = f"task {identifier[:80]!r} in {RESULT}"
    status = fields.text("status", "")
    if status not in (OK, FAILED, SKIPPED):
        raise WrongShape(f"{fields.place} has the status {status[:40]!r}")
    output = fields.fields("output")
    sandbox = fields.fields("sandbox_results")
    return TaskResult(
        id=identifier,
        status=status,
        error=fields.text("error_message", ""),
        stdout=output.text("stdout", "") if output else "",
        stderr=output.text("stderr", "") if output else "",
        sandbox=_sandbox(sandbox) if sandbox else None,
    )


def _sandbox(fields: Fields) -> SandboxResult:
    return SandboxResult(
        status=fields.text("status", ""),
        exitcode=int(_number(fields, "exitcode")),
        exitsig=int(_number(fields, "exitsig")),
        time=_number(fields, "time"),
        wall_time=_number(fields, "wall-time"),
        memory=int(_number(fields, "memory")),
        killed=fields.boolean("killed"),
        message=fields.text("message", ""),
    )


def _number(fields: Fields, key: str) -> float:
    """Return a decimal number, 0 if it is not there. Exit codes of some systems are negative."""
    text = fields.text(key, "") or "0"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WrongShape(f"{key} of {fields.place} is no number: {text[:40]!r}")
    return number


def _as_node(value: object) -> Node:
    """Return JSON as the YAML that says the same."""
    if isinstance(value, Mapping):
        return {str(key): _as_node(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, str) or value is None:
        return Scalar(value or "", value is None)
    if isinstance(value, Sequence):
        return [_as_node(item) for item in cast("Sequence[Any]", value)]
    return Scalar(str(value).lower() if isinstance(value, bool) else str(value))
