"""``crossdock jobs retry``: run dead jobs again, one or all."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from crossdock.cli.connection import connected
from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines

if TYPE_CHECKING:
    from crossdock.protocols.ogc.client import Client
    from crossdock.protocols.ogc.messages import StatusInfo

_MOST = 100_000


def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of failed or cancelled jobs.")] = None,
    all_dead: Annotated[
        bool, typer.Option("--all-dead", help="All failed jobs, but for those that were run again already.")
    ] = False,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="With --all-dead: only this kind; repeatable.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="With --all-dead: only those that failed so.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --all-dead: do not ask.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Run failed or cancelled jobs again, as new jobs; of an array, the members that failed."""
    if bool(ids) == all_dead:
        raise CommandError("which jobs? Name ids, or --all-dead", ExitCode.USAGE)
    with connected(server) as client:
        chosen = list(ids or ()) or _confirmed(_dead(client, kind, code), yes=yes)
        refused = [each for each in chosen if not _again(client, each, json=json)]
    if refused:
        raise CommandError(f"{len(refused)} of {len(chosen)} jobs could not be run again")


def _again(client: "Client", job: str, *, json: bool) -> bool:
    """Run one job again; False if that cannot be, which keeps no other from being run."""
    from crossdock.core.errors import Code, CrossdockError

    try:
        again = client.retry(job)
    except CrossdockError as error:
        if error.code not in (Code.CONFLICT, Code.NOT_FOUND):
            raise
        typer.echo(f"{job}: {error.message}", err=True)
        return False
    if json:
        print_lines([again])
    else:
        typer.echo(f"{job} runs again as {again.job_id}")
    return True


def _dead(client: "Client", kinds: list[str] | None, code: str | None) -> "list[StatusInfo]":
    listed = client.jobs(_MOST, processID=",".join(kinds) if kinds else None)
    again = {job.crossdock.retry_of for job in listed}
    dead = [job for job in listed if job.crossdock.state == "failed" and job.job_id not in again]
    return [job for job in dead if code is None or job.crossdock.code == code]


def _confirmed(dead: "list[StatusInfo]", *, yes: bool) -> list[str]:
    """Show what would be run again, and ask. The oldest come first, as they did the first time."""
    if not dead:
        typer.echo("there are no failed jobs to run again", err=True)
        return []
    counts = Counter((job.process_id, job.crossdock.code or "no code") for job in dead)
    for (kind, code), count in counts.most_common():
        typer.echo(f"{count:>7} {kind}: {code}", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError(f"{len(dead)} jobs would run again; add --yes to do it", ExitCode.USAGE)
        typer.confirm(f"Run these {len(dead)} jobs again?", abort=True, err=True)
    return [job.job_id for job in reversed(dead)]
