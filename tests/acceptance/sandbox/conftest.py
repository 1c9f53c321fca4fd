"""Boxes of each tier that this machine has, and what must not be reached from them."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.sandbox.scene import Scene
from crossdock.core.errors import CrossdockError
from crossdock.runners.program.sandbox import machine
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.native import CannotBuild
from crossdock.runners.program.sandbox.spec import Tier

Open = Callable[..., Awaitable[Boxes]]


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    scene = Scene()
    yield scene
    scene.close()


@pytest.fixture
async def open_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """A function that starts boxes of exactly one tier; the test is skipped where that does not work.

    Without a ``compiler`` they are what a machine has that cannot build their first process.
    """
    opened: list[Boxes] = []

    async def begin(tier: Tier, *, compiler: bool = True, **options: Any) -> Boxes:
        if not compiler:
            monkeypatch.setattr(machine, "init_program", _no_compiler)
        boxes = Boxes(tmp_path / f"state{len(opened)}", minimum=tier, best=tier, **options)
        try:
            await boxes.start()
        except CrossdockError as error:
            pytest.skip(f"tier {tier} does not work here: {error.message}")
        opened.append(boxes)
        return boxes

    yield begin
    for boxes in opened:
        await boxes.stop()


def _no_compiler() -> Path:
    raise CannotBuild("no C compiler")
