"""Loading: the file, then the environment over it, then options over both."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossdock.config.build import build
from crossdock.config.checks import check
from crossdock.config.schema import Config
from crossdock.config.sources import Settings

DEFAULT_FILE = Path("crossdock.toml")
"""Read if it is there and no other file is named."""


def load(file: Path | None = None, options: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration.

    Args:
        file: the TOML file; without one ``CROSSDOCK_CONFIG`` or ``./crossdock.toml``, if there is such a file.
        options: settings of the form ``SECTION.KEY=VALUE``, which win over all others.
        environ: the environment, by default that of the process.

    Raises:
        ConfigError: with one line for every problem.
    """
    environ = os.environ if environ is None else environ
    settings = Settings()
    if file is None and environ.get("CROSSDOCK_CONFIG"):
        file = Path(environ["CROSSDOCK_CONFIG"])
    if file is not None or DEFAULT_FILE.is_file():
        settings.read_file(file or DEFAULT_FILE)
    settings.read_environment(environ)
    settings.read_options(options)
    config = build(settings)
    check(config, settings)
    return config
