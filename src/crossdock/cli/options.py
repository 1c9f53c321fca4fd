"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8080"

ServerOption = Annotated[
    str, typer.Option("--server", envvar="CROSSDOCK_SERVER", metavar="URL", help="The server to talk to.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for scripts.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file; without it ./crossdock.toml, if there is one.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Directory of everything that has to survive.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set a key of the configuration; repeatable.")
]


def config_options(data: str | None, listen: str | None, given: list[str] | None) -> list[str]:
    """Return the settings that options of the command line stand for, the special ones last so that they win."""
    settings = list(given or ())
    if data is not None:
        settings.append(f"data={data}")
    if listen is not None:
        settings.append(f"http.listen={listen}")
    return settings
