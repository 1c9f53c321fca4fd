"""The entry point: collects the commands, and is quick to load so that ``crossdock --help`` is."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from crossdock.cli.bench import bench
from crossdock.cli.doctor import doctor
from crossdock.cli.drain import drain
from crossdock.cli.evaluate import evaluate
from crossdock.cli.failures import reported
from crossdock.cli.jobs import jobs
from crossdock.cli.key import key
from crossdock.cli.serve import serve
from crossdock.cli.submit import submit
from crossdock.cli.worker import worker
from crossdock.cli.workers import workers


class Commands(TyperGroup):
    """Commands whose expected errors end in one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with reported():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Keep the order in which they are registered."""
        del ctx
        return list(self.commands)


cli = typer.Typer(
    name="crossdock",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Take long-running jobs in over any of several protocols, give them to workers, and lose none.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"crossdock {version('crossdock')}")
        raise typer.Exit


@cli.callback()
def options(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read the options that stand before a command."""


_COMMANDS: tuple[Callable[..., Any], ...] = (serve, worker, submit, evaluate, workers, drain, doctor, bench, key)

for _command in _COMMANDS:
    cli.command()(_command)
cli.add_typer(jobs, name="jobs")


def main() -> None:
    """Run the command line of this process."""
    cli()
