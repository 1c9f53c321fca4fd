"""Reads the named queries of ``queries.sql``: SQL is source code and lives in files of its own."""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_BLOCK: Final = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
_PLACE: Final = re.compile(r"\{(\w+)\}")


def parse(text: str) -> dict[str, str]:
    """Return the blocks of ``text`` by name, with the names of other blocks in braces replaced by those."""
    blocks = {name: body.strip().removesuffix(";") for name, body in _BLOCK.findall(text)}

    def fill(place: re.Match[str]) -> str:
        return blocks.get(place[1], place[0])

    return {name: _PLACE.sub(fill, body) for name, body in blocks.items()}


QUERIES: Final[Mapping[str, str]] = parse((files("crossdock.stores.sqlite") / "queries.sql").read_text(encoding="utf-8"))
"""Every query by its name."""
