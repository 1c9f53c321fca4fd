"""Nothing survives: not the end of the task that waits for a program, not the worker's own death."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acceptance.sandbox.acts import ACTS
from acceptance.sandbox.conftest import Open
from acceptance.sandbox.play import Play, slot_names
from acceptance.sandbox.scene import Scene
from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Limits, Program, SandboxError, Tier

TIERS = [Tier.CGROUP, Tier.NAMESPACES, Tier.LANDLOCK]
WORKER = Path(__file__).with_name("worker.py")


def family(scene: Scene, folder: Path) -> Program:
    return Program(
        arguments=scene.arguments("family", "/box/hostile"), directory=folder, limits=Limits(cpu=50.0, wall=100.0)
    )


def left_behind(state: Path, names: list[str]) -> list[Path]:
    groups = [group for name in names for group in Path("/sys/fs/cgroup").glob(f"*/**/crossdock-{name}-*")]
    return [*groups, *(state / "output").iterdir()]


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("tier", TIERS)
async def test_cancelling_ends_all_descendants_and_frees_the_slot(
    tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path
) -> None:
    boxes = await open_boxes(tier)
    play = Play(boxes, scene, tmp_path)
    folder = play.prepared("family")
    running = asyncio.create_task(boxes.run(family(scene, folder)))
    await until((folder / "living").exists)
    await until(lambda: len(scene.processes()) >= 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.processes() == []
    assert await play.perform("ok", ACTS["ok"]) == ""


@pytest.mark.parametrize("tier", TIERS)
async def test_stopping_ends_what_runs_and_refuses_what_waits(
    tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path
) -> None:
    boxes = await open_boxes(tier)
    folder = Play(boxes, scene, tmp_path).prepared("family")
    running = [asyncio.create_task(boxes.run(family(scene, folder))) for _ in range(2)]
    await until((folder / "living").exists)
    await boxes.stop()
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        assert isinstance(outcome, SandboxError)
    assert scene.processes() == []


@pytest.mark.parametrize("tier", TIERS)
async def test_nothing_survives_a_killed_worker(tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    folders = [Play(boxes, scene, tmp_path).prepared(f"family{number}") for number in range(3)]
    await boxes.stop()
    command = [sys.executable, str(WORKER), str(int(tier)), str(tmp_path / "worker"), *map(str, folders)]
    told = scene.arguments("family", "/box/hostile")
    worker = await asyncio.create_subprocess_exec(*command, "--", *told, stdin=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: all((folder / "living").exists() for folder in folders))
    finally:
        worker.kill()
        await worker.wait()
    await until(lambda: not scene.processes(), 10.0)
    again = Boxes(tmp_path / "worker", slots=3, minimum=tier, best=tier)
    await again.start()
    assert left_behind(tmp_path / "worker", slot_names(again)) == []
    await again.stop()


async def test_too_weak_a_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap
    boxes = Boxes(tmp_path / "state")
    with pytest.raises(CrossdockError) as refused:
        await boxes.start()
    assert refused.value.code is Code.UNAVAILABLE
    assert "apt-get install bubblewrap" in refused.value.message
    with pytest.raises(SandboxError):
        await boxes.run(Program(arguments=("true",), directory=tmp_path))
