"""`crossdock serve` with kinds for LONGPOST."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running

APP = Path(__file__).with_name("app.py")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose results become cargo above 200 characters, for pages of any origin."""
    settings = ("longpost.chunk=200", 'longpost.origins=["*"]')
    with running(Server(f"{APP}:app", tmp_path / "data", settings=settings)) as server:
        yield server
