"""``crossdock evaluate``: have a submitted program compiled, run and judged."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from crossdock.cli.connection import connected
from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.interrupts import HeldInterrupt
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines
from crossdock.cli.parameters import named_values

if TYPE_CHECKING:
    from crossdock.protocols.recodex.client import RecodexClient
    from crossdock.protocols.recodex.client.calls import Handle
    from crossdock.protocols.recodex.client.native import NativeEvaluations, NativeHandle
    from crossdock.protocols.recodex.client.packing import Submission
    from crossdock.protocols.recodex.client.verdict import Verdict

_RECODEX = "recodex+tcp:"
_NEEDS = "`evaluate` needs"


def evaluate(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory or archive (zip, tar) with a job-config.yml at its root.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Save the archive of the results there.")
    ] = None,
    hwgroup: Annotated[
        str | None, typer.Option("--hwgroup", metavar="NAME", help="Hardware group, if not the configuration's.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="Something its worker has to offer; repeatable."),
    ] = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", metavar="ID", help="ReCodEx only: the job's id, instead of a new one.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Submit a program and print how it did in each test. Exit code 1 if it failed one, or the evaluation failed.

    The server is one of ours, or any ReCodEx installation:
    recodex+tcp://HOST:PORT?files=http://HOST:PORT&monitor=ws://HOST:PORT (the password of its file server is taken from
    CROSSDOCK_FILES_PASSWORD, the user name from &username=NAME).
    """
    headers = _headers(header or [], hwgroup)
    recodex = server.startswith(_RECODEX)
    if not recodex and job_id is not None:
        raise CommandError(f"--job-id is for servers whose address begins with {_RECODEX}//", ExitCode.USAGE)
    submission = _read(source)
    try:
        ended = (
            _over_recodex(server, submission, headers, job_id)
            if recodex
            else _over_http(server, submission, headers, output)
        )
    except CommandError as error:
        if json and error.exit_code is ExitCode.FAILED:
            print_lines([{"passed": False, "error": error.message}])
        raise
    _show(ended, json=json)
    if output is not None:
        _save(output, ended)
    if not ended.verdict.passed:
        raise typer.Exit(ExitCode.FAILED)


class _Ended(NamedTuple):
    """A job's id, how its tests ended, and the archive of the results if it was asked for and there is one."""

    job: str
    verdict: "Verdict"
    archive: bytes | None


def _over_http(server: str, submission: "Submission", headers: list[tuple[str, str]], output: Path | None) -> _Ended:
    from crossdock.cli.evaluate_views import show_progress
    from crossdock.cli.views import describe_end
    from crossdock.cli.waiting import interrupted
    from crossdock.protocols.recodex.client import NativeEvaluations

    with connected(server) as client, HeldInterrupt() as interrupt:
        evaluations = NativeEvaluations(client)
        job = evaluations.submit(submission, headers)
        try:
            interrupt.release()
            show_progress(job.id, evaluations.follow(job), len(submission.config.tasks))
        except KeyboardInterrupt:
            raise CommandError(interrupted(client, client.job(job.id)), ExitCode.INTERRUPTED) from None
        ended = client.job(job.id)
        if ended.status != "successful":
            raise CommandError(describe_end(ended), ExitCode.FAILED)
        archive = None if output is None else _archive(evaluations, job)
        return _Ended(job.id, evaluations.result(job), archive)


def _archive(evaluations: "NativeEvaluations", job: "NativeHandle") -> bytes | None:
    from crossdock.core.errors import Code, CrossdockError

    try:
        return evaluations.archive(job)
    except CrossdockError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None


def _over_recodex(server: str, submission: "Submission", headers: list[tuple[str, str]], job_id: str | None) -> _Ended:
    from crossdock.core.extras import extra

    with extra("recodex", _NEEDS):
        from crossdock.protocols.recodex.client import RecodexClient
    from crossdock.protocols.recodex.client.results import read_result_archive
    from crossdock.protocols.recodex.client.verdict import judge

    password = os.environ.get("CROSSDOCK_FILES_PASSWORD", "")
    with _translated(), RecodexClient(server, password) as client, HeldInterrupt() as interrupt:
        job = client.submit(submission, headers, job_id=job_id)
        try:
            interrupt.release()
            archive = _results(client, job)
        except KeyboardInterrupt:
            text = f"interrupted; job {job.id} goes on, its results will be at {job.result}"
            raise CommandError(text, ExitCode.INTERRUPTED) from None
        return _Ended(job.id, judge(job.config, read_result_archive(archive)), archive)


def _results(client: "RecodexClient", job: "Handle") -> bytes:
    """Wait for the end of a job; return the archive of its results."""
    from crossdock.cli.evaluate_views import show_progress
    from crossdock.core.errors import Code, CrossdockError

    if not client.address.monitor:
        # Nobody tells when it ends: the results are there at some time.
        return client.archive(job, float("inf"))
    failed = show_progress(job.id, client.follow(job), len(job.config.tasks))
    try:
        return client.archive(job, 0.0) if failed else client.archive(job)
    except CrossdockError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise CommandError(f"{job.id} {'failed and ' if failed else ''}left no results", ExitCode.FAILED) from error


def _show(ended: _Ended, *, json: bool) -> None:
    if json:
        import msgspec

        print_lines([{"job": ended.job, **msgspec.to_builtins(ended.verdict)}])
        return
    from crossdock.cli.evaluate_views import print_verdict

    print_verdict(ended.verdict)


def _save(path: Path, ended: _Ended) -> None:
    if ended.archive is None:
        raise CommandError(f"{ended.job} left no archive of its results", ExitCode.FAILED)
    try:
        path.write_bytes(ended.archive)
    except OSError as error:
        raise CommandError(f"--output {path}: {error.strerror}", ExitCode.USAGE) from None


def _headers(given: list[str], group: str | None) -> list[tuple[str, str]]:
    named = named_values("--header", given)
    headers = [(name, value) for name, values in named.items() for value in values]
    return headers if group is None else [("hwgroup", group), *headers]


def _read(source: Path) -> "Submission":
    from crossdock.core.errors import CrossdockError
    from crossdock.core.extras import extra

    with extra("recodex", _NEEDS):
        from crossdock.protocols.recodex.client.packing import read_submission
    try:
        return read_submission(source)
    except CrossdockError as error:
        raise CommandError(error.message, ExitCode.USAGE) from error


@contextmanager
def _translated() -> Generator[None, None, None]:
    """Turn what a ReCodEx installation refuses into exit codes, as :func:`connected` does for servers of ours."""
    from crossdock.core.errors import Code, CrossdockError

    exits = {Code.UNAVAILABLE: ExitCode.UNREACHABLE, Code.INTERNAL: ExitCode.FAILED, Code.NOT_FOUND: ExitCode.FAILED}
    try:
        yield
    except CrossdockError as error:
        hint = "; put the password into CROSSDOCK_FILES_PASSWORD" if error.code is Code.UNAUTHORIZED else ""
        raise CommandError(error.message + hint, exits.get(error.code, ExitCode.USAGE)) from error
