"""``crossdock doctor``: look for what could keep a server from running well here."""

from typing import Annotated

import typer

from crossdock.cli.failures import ExitCode
from crossdock.cli.options import ConfigOption, DataOption, JsonOption, SetOption, config_options


def doctor(
    app: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="file.py:app or module:app, to see if it loads.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where the server would listen.")
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Look for what could keep a server from running well here. Exit code 1 if something would."""
    import msgspec

    from crossdock.app.diagnosis import examine
    from crossdock.app.findings import Health
    from crossdock.app.logs import configure_logs
    from crossdock.config import load

    failed = False
    loaded = load(config, config_options(data, listen, set_))
    configure_logs(loaded.log.level, loaded.log.format)
    for finding in examine(loaded, app):
        failed = failed or finding.health is Health.FAILED
        if json:
            typer.echo(msgspec.json.encode(finding).decode())
        else:
            typer.echo(f"{_MARKS[finding.health]} {finding.check:<16} {finding.text}")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}
