"""``crossdock jobs``: look at jobs, stop them, run them again."""

from typing import TYPE_CHECKING, Annotated

import typer

from crossdock.cli.connection import connected
from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines
from crossdock.cli.retry import retry

if TYPE_CHECKING:
    from crossdock.protocols.ogc.client import Client
    from crossdock.protocols.ogc.messages import StatusInfo

jobs = typer.Typer(no_args_is_help=True, help="Look at jobs, stop them, run them again.", pretty_exceptions_enable=False)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of a job; of a member of an array: ARRAY.POSITION.")]
KindOption = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; repeatable.")]
BatchOption = Annotated[str | None, typer.Option("--batch", metavar="ID", help="Only jobs of this batch.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest first.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="Only jobs that ended with this code.")]


@jobs.command("list")
def list_(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="waiting, ready, leased, succeeded, failed or cancelled; repeatable."),
    ] = None,
    kind: KindOption = None,
    batch: BatchOption = None,
    code: CodeOption = None,
    limit: LimitOption = 50,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    with connected(server) as client:
        found = _search(client, limit, state, kind, batch, code)
    _show(found, json=json)


@jobs.command()
def dead(
    kind: KindOption = None,
    code: CodeOption = None,
    limit: LimitOption = 50,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """List failed jobs. `crossdock jobs retry` runs them again."""
    with connected(server) as client:
        found = _search(client, limit, ["failed"], kind, None, code)
    _show(found, json=json)


@jobs.command()
def show(id_: IdArgument, server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """Show all there is to know about a job, also why it does not run."""
    with connected(server) as client:
        job = client.job(id_)
    if json:
        print_lines([job])
        return
    from crossdock.cli.views import print_job

    print_job(job)


@jobs.command()
def watch(id_: IdArgument, server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """Wait for a job with a progress bar, then print its result. With --json: its log as it grows."""
    with connected(server) as client:
        if json:
            for entry in client.watch(id_):
                print_lines([entry])
            if client.job(id_).status != "successful":
                raise typer.Exit(ExitCode.FAILED)
            return
        from crossdock.cli.waiting import wait_for

        wait_for(client, client.job(id_), json=False)


@jobs.command()
def cancel(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of jobs.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="All jobs of this batch.")] = None,
    hard: Annotated[bool, typer.Option("--hard", help="Kill at once, without asking the job to stop first.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Cancel jobs. A running one is asked to stop, and killed after the grace period of its kind."""
    if not ids and batch is None:
        raise CommandError("which jobs? Name ids, or --batch ID", ExitCode.USAGE)
    with connected(server) as client:
        if batch is not None:
            _cancel_batch(client, batch, json=json)
        ended = [client.cancel(each, "hard" if hard else "cooperative") for each in ids or ()]
    if json:
        print_lines(ended)
        return
    for job in ended:
        asked = job.crossdock.cancel_requested and job.crossdock.state == "leased"
        typer.echo(f"{job.job_id} {'was asked to stop' if asked else job.crossdock.state}")


@jobs.command()
def batch(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of a batch.")],
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show how many jobs of a batch have ended, and how."""
    from crossdock.protocols.ogc import calls

    with connected(server) as client:
        info = client.send(calls.batch(id_))
    if json:
        print_lines([info])
        return
    from crossdock.cli.views import describe_counts

    typer.echo(f"{info.batch_id}: {describe_counts(info.members)}")


jobs.command()(retry)


def _search(
    client: "Client",
    limit: int,
    states: list[str] | None,
    kinds: list[str] | None,
    batch: str | None,
    code: str | None,
) -> "list[StatusInfo]":
    query = {"state": ",".join(states) if states else None, "processID": ",".join(kinds) if kinds else None}
    return client.jobs(limit, batch=batch, code=code, **query)


def _show(found: "list[StatusInfo]", *, json: bool) -> None:
    if json:
        print_lines(found)
        return
    from crossdock.cli.views import print_jobs

    print_jobs(found)


def _cancel_batch(client: "Client", batch: str, *, json: bool) -> None:
    from crossdock.protocols.ogc import calls

    count = client.send(calls.cancel_batch(batch)).cancelled
    if json:
        print_lines([{"batch": batch, "cancelled": count}])
    else:
        typer.echo(f"{count} unfinished jobs of batch {batch} are cancelled or asked to stop")
