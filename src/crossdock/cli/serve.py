"""``crossdock serve``: the server."""

import gc
from typing import Annotated, Final

import typer

from crossdock.cli.options import ConfigOption, DataOption, SetOption, config_options

_ALLOCATIONS: Final = 100_000


def serve(
    app: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="file.py:app or module:app, whose functions are run.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0: a free one.")
    ] = None,
    set_: SetOption = None,
) -> None:
    """Serve jobs over HTTP and run them. SIGTERM or Ctrl-C: finish what runs, then exit; twice: hand it back and exit."""
    # Loading makes much that stays: looking through it for garbage again and again takes a tenth of the start.
    gc.set_threshold(_ALLOCATIONS)
    from crossdock.app import run_server
    from crossdock.config import load

    code = run_server(load(config, config_options(data, listen, set_)), app, lambda line: typer.echo(line, err=True))
    raise typer.Exit(code)
