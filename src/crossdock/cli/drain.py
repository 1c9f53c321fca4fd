"""``crossdock drain``: send a worker home."""

from typing import Annotated

import typer

from crossdock.cli.connection import connected
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines


def drain(
    worker: Annotated[str, typer.Argument(help="The worker's id, as `crossdock workers` shows it.")],
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Give a worker no more jobs; what it runs goes on."""
    with connected(server) as client:
        client.drain(worker)
    if json:
        print_lines([{"worker": worker, "draining": True}])
    else:
        typer.echo(f"{worker} gets no more jobs")
