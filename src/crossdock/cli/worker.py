"""``crossdock worker``: a worker on this machine for a broker elsewhere."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.options import ConfigOption, SetOption
from crossdock.cli.parameters import named_values

_LATER = {"cluster+sqs": "cluster"}
_SCHEMES = ("http", "https", "recodex+tcp", "jsonbus+amqp", "jsonbus+amqps")
_EXAMPLES = "http://HOST:PORT, recodex+tcp://HOST:PORT or jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME"


def worker(
    app: Annotated[
        str | None,
        typer.Argument(metavar="[APP]", help="file.py:app or module:app, whose functions it runs. Without: evaluations."),
    ] = None,
    *,
    connect: Annotated[
        str,
        typer.Option(
            "--connect",
            metavar="URL",
            envvar="CROSSDOCK_SERVER",
            help=f"The broker: {_EXAMPLES}.",
        ),
    ],
    slots: Annotated[int | None, typer.Option("--slots", min=1, help="Jobs at once; by default one per processor.")] = None,
    hwgroup: Annotated[str | None, typer.Option("--hwgroup", metavar="NAME", help="Its hardware group.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="Something jobs may require; repeatable.")
    ] = None,
    min_tier: Annotated[
        int | None, typer.Option("--min-tier", min=1, max=4, help="The weakest sandbox that will do for evaluations.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Run jobs of a server elsewhere. SIGTERM or Ctrl-C: finish what runs, then exit; twice: hand it back and exit."""
    _check(connect)
    values = named_values("--header", header or [])
    import os

    from crossdock.app import run_worker
    from crossdock.config import load
    from crossdock.core.requests import Capabilities

    settings = list(set_ or ())
    if slots is not None:
        settings.append(f"worker.slots={slots}")
    if min_tier is not None:
        settings.append(f"evaluation.min_tier={min_tier}")
    key = os.environ.get("CROSSDOCK_API_KEY") or None
    offers = Capabilities(group=hwgroup, values=values)
    run_worker(load(config, settings), app, connect, key, offers, slots, lambda line: typer.echo(line, err=True))


def _check(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme in _LATER:
        text = f"{scheme}:// comes with the {_LATER[scheme]} release; this one connects over {'://, '.join(_SCHEMES)}://"
        raise CommandError(text, ExitCode.USAGE)
    if scheme not in _SCHEMES:
        raise CommandError(f"--connect {scheme or url}: expected {_EXAMPLES}", ExitCode.USAGE)
