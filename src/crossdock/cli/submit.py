"""``crossdock submit``: hand in a job, or an array of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from crossdock.cli.connection import connected
from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.interrupts import HeldInterrupt
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines
from crossdock.cli.parameters import named_values, parse_range, read_json, read_table
from crossdock.cli.submit_bus import is_bus, submit_bus

if TYPE_CHECKING:
    from crossdock.protocols.ogc.calls import Options
    from crossdock.protocols.ogc.client import Client
    from crossdock.protocols.ogc.messages import StatusInfo


def submit(  # noqa: PLR0913 - each is an option of the command
    *,
    kind: Annotated[str, typer.Argument(help="The kind of job.")],
    params: Annotated[str | None, typer.Option("--params", metavar="JSON|@FILE|-", help="The job's parameters.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, and print the result.")] = False,
    priority: Annotated[int, typer.Option("--priority", help="Higher runs first.")] = 0,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose job it is; needs a key that may.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: a second submit with it gives the first's job.")
    ] = None,
    after: Annotated[list[str] | None, typer.Option("--after", metavar="ID", help="Job to wait for; repeatable.")] = None,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="NAME=VALUE", help="Something its worker has to offer; repeatable."),
    ] = None,
    delay: Annotated[float | None, typer.Option("--delay", min=0, metavar="SECONDS", help="Not before that time.")] = None,
    array: Annotated[
        str | None, typer.Option("--array", metavar="START:STOP[:STEP]", help="One job with a member for each number.")
    ] = None,
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="The parameter that gets the number.")] = "index",
    table: Annotated[
        Path | None, typer.Option("--table", metavar="FILE", help="One job with a member for each row (CSV, JSON, JSONL).")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Hand in a job and print its id. With --wait: its result, and exit code 1 if it failed.

    The server may be a json-bus node, jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME, which needs --wait.
    """
    values = read_json(params) if params is not None else None
    if is_bus(server):
        refused = {"--priority": priority != 0, "--tenant": bool(tenant), "--key": bool(key), "--after": bool(after)}
        refused |= {"--require": bool(require), "--delay": delay is not None, "--array": bool(array), "--table": bool(table)}
        submit_bus(server, kind, values, wait=wait, refused=refused, json=json)
        return
    members = _members(array, as_, table)
    options = _options(priority, tenant, key, after, delay)
    if require:
        options["requires"] = named_values("--require", require)
    go_on = _go_on(wait)
    with connected(server) as client, HeldInterrupt() as interrupt:
        job = _submit(client, kind, values, members, options)
        go_on(client, job, interrupt, json=json)


class _GoOn(Protocol):
    """What is done once a job is there."""

    def __call__(self, client: "Client", job: "StatusInfo", interrupt: HeldInterrupt, /, *, json: bool) -> None: ...


def _go_on(wait: bool) -> _GoOn:
    """Return what to do with the job. Before it is there: an import that Ctrl-C hits could not ask what to do with it."""
    if not wait:
        return _print
    from crossdock.cli.waiting import wait_for

    return wait_for


def _print(client: "Client", job: "StatusInfo", interrupt: HeldInterrupt, *, json: bool) -> None:
    del client, interrupt
    if json:
        print_lines([job])
    else:
        typer.echo(job.job_id)


def _submit(client: "Client", kind: str, values: object, members: dict[str, Any] | None, options: "Options") -> "StatusInfo":
    if members is None:
        return client.submit(kind, values, **options)
    return client.submit_array(kind, members, values, **options)


def _members(array: str | None, name: str, table: Path | None) -> dict[str, Any] | None:
    if array is not None and table is not None:
        raise CommandError("--array and --table exclude one another", ExitCode.USAGE)
    if table is not None:
        return {"table": read_table(table)}
    if array is None:
        return None
    numbers = parse_range(array)
    return {"start": numbers.start, "stop": numbers.stop, "step": numbers.step, "as": name}


def _options(priority: int, tenant: str | None, key: str | None, after: list[str] | None, delay: float | None) -> "Options":
    options: Options = {"priority": priority, "after": after or []}
    if tenant is not None:
        options["tenant"] = tenant
    if key is not None:
        options["key"] = key
    if delay is not None:
        options["delay"] = delay
    return options
