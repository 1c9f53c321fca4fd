"""Output for scripts: one JSON object a line."""

from collections.abc import Iterable

import typer


def print_lines(values: Iterable[object]) -> None:
    """Print each value as JSON on a line of its own."""
    import msgspec

    for value in values:
        typer.echo(msgspec.json.encode(value).decode())
