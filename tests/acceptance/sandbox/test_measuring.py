"""What a verdict says was used is what was used. Strict figures need a quiet machine: ``python -m bench --only sandbox``."""

from pathlib import Path

import pytest

from acceptance.sandbox.acts import MB
from acceptance.sandbox.conftest import Open
from acceptance.sandbox.play import Play
from acceptance.sandbox.scene import Scene
from crossdock.runners.program.sandbox.spec import Limits, Program, Tier

CPU_ERROR = {Tier.CGROUP: 0.03, Tier.NAMESPACES: 0.03, Tier.LANDLOCK: 0.05}
"""Seconds. What the first process and the start of the program cost belongs to it; on a quiet machine it is 2 ms."""


@pytest.mark.parametrize("tier", CPU_ERROR)
async def test_cpu_and_memory_are_what_the_program_used(tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    folder = Play(boxes, scene, tmp_path).prepared("measured")
    program = Program(
        arguments=scene.arguments("measured", "/box/hostile"),
        directory=folder,
        stdout="out",
        limits=Limits(cpu=5.0, wall=60.0, memory=64 * MB),
    )
    verdict = await boxes.run(program)
    cpu, max_rss = (float(word) for word in (folder / "out").read_text().split())
    assert verdict.status == "OK"
    assert -0.001 <= verdict.cpu - cpu <= CPU_ERROR[tier]
    assert verdict.wall >= verdict.cpu - 0.01
    assert abs(verdict.max_rss - max_rss * 1024) <= MB
    assert 30 * MB <= verdict.memory <= 34 * MB


@pytest.mark.parametrize("tier", CPU_ERROR)
async def test_a_program_is_ended_soon_after_its_time(tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    folder = Play(boxes, scene, tmp_path).prepared("spin")
    limits = Limits(cpu=0.3, wall=30.0, extra=0.2)
    program = Program(arguments=scene.arguments("spin", "/box/hostile"), directory=folder, limits=limits)
    verdict = await boxes.run(program)
    assert (verdict.status, verdict.exceeded, verdict.killed) == ("TO", "cpu", True)
    assert 0.5 <= verdict.cpu <= 0.9
