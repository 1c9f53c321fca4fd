"""Where settings come from, before anything is known about their meaning: the file, the environment, options."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from crossdock.config.lines import KeyPath, key_lines, line_of

PREFIX = "CROSSDOCK_"
"""Environment variables are CROSSDOCK_DATA and CROSSDOCK_SECTION__KEY; others are not ours (some platforms inject such)."""


class Text(str):
    """A value that was given as text, in the environment or an option, and is read according to the type of its key."""

    __slots__ = ()


class Problem(Struct, frozen=True):
    """Something wrong with the configuration: where it was said, and what is wrong."""

    origin: str
    text: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used. The text has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Settings:
    """Values by path, each layer over the one before, and where each value came from."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self._origins: dict[KeyPath, str] = {}
        self._file = ""
        self._lines: dict[KeyPath, int] = {}

    def read_file(self, path: Path) -> None:
        """Take the values of a TOML file.

        Raises:
            ConfigError: it cannot be read, or is no TOML.
        """
        try:
            text = path.read_text(encoding="utf-8")
            self.tree = tomllib.loads(text)
        except OSError as error:
            raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError([Problem(str(path), f"is not valid TOML: {error}")]) from None
        self._file = str(path)
        self._lines = key_lines(text)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Take the values of environment variables."""
        for name, text in sorted(environ.items()):
            rest = name.removeprefix(PREFIX)
            if rest != name and ("__" in rest or rest == "DATA"):
                path = tuple(part.lower() for part in rest.split("__"))
                self.put(path, Text(text), f"environment variable {name}")

    def read_options(self, options: Iterable[str]) -> None:
        """Take options of the form ``SECTION.KEY=VALUE``.

        Raises:
            ConfigError: an option has no ``=``.
        """
        for option in options:
            name, equals, text = option.partition("=")
            if not equals:
                raise ConfigError([Problem("--set", f"expected SECTION.KEY=VALUE, got {option!r}")])
            self.put(tuple(name.strip().split(".")), Text(text), "--set")

    def put(self, path: KeyPath, value: object, origin: str) -> None:
        """Set one value; ``origin`` is named in errors about it."""
        table = self.tree
        for part in path[:-1]:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[path[-1]] = value
        self._origins[path] = origin

    def origin(self, path: KeyPath) -> str:
        """Say where the value at ``path`` came from."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        line = line_of(self._lines, path)
        return f"{self._file}:{line}" if line else self._file or "configuration"
