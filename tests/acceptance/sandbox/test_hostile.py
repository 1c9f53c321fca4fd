"""Programs that mean harm, on every tier this machine has: none gets out, and each gets the verdict it deserves."""

import os
from pathlib import Path

import pytest

from acceptance.sandbox.acts import ACTS, MORE
from acceptance.sandbox.conftest import Open
from acceptance.sandbox.play import CANARY, Play
from acceptance.sandbox.scene import Scene
from crossdock.runners.program.sandbox.spec import Tier

WAYS = pytest.mark.parametrize(
    ("tier", "compiler"),
    [(Tier.CGROUP, True), (Tier.NAMESPACES, True), (Tier.LANDLOCK, True), (Tier.LANDLOCK, False)],
    ids=["cgroup", "namespaces", "landlock", "landlock without a compiler"],
)
"""With namespaces a compiler changes what boxes can tell, not what holds them."""


@WAYS
@pytest.mark.parametrize("no_locks", [False, True])
async def test_no_act_succeeds(
    tier: Tier,
    compiler: bool,
    no_locks: bool,
    open_boxes: Open,
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CANARY, scene.token[::-1])
    # Boxes that share a user also share its count of processes: side by side they would disturb each other.
    slots = 1 if tier == Tier.LANDLOCK and os.geteuid() else 4
    play = Play(await open_boxes(tier, compiler=compiler, slots=slots), scene, tmp_path, no_locks=no_locks)
    problems = await play.all({name: act for name, act in ACTS.items() if name != "lockchan"})
    pair = Play(await open_boxes(tier, slots=2), scene, tmp_path / "pair", no_locks=no_locks)
    seen = await pair.lock_channel(ACTS["lockchan"])
    assert len(play.verdicts) == 43
    assert problems == {}
    assert bool(seen) != no_locks, "the one channel that is open unless asked to be closed"
    assert scene.harm() == ""
    assert scene.processes() == []


@WAYS
async def test_acts_that_other_sandboxes_were_not_tried_with(
    tier: Tier, compiler: bool, open_boxes: Open, scene: Scene, tmp_path: Path
) -> None:
    play = Play(await open_boxes(tier, compiler=compiler, slots=2), scene, tmp_path)
    assert await play.all(MORE) == {}
    assert scene.harm() == ""
    assert scene.processes() == []
