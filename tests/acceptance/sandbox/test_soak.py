"""Many boxes, four at a time, good and bad ones mixed: every verdict is right, and nothing is left when they are gone."""

import asyncio
import random
import tempfile
from pathlib import Path

import pytest

from acceptance.sandbox.acts import ACTS, LIMITS
from acceptance.sandbox.conftest import Open
from acceptance.sandbox.play import Play, slot_names
from acceptance.sandbox.scene import Scene
from crossdock.runners.program.sandbox.spec import Tier

QUICK = (
    *("ok", "exit", "sig", "segv", "mem", "mem_fork", "flood", "bigfile", "inodes", "outside", "read", "net", "kill"),
    *("killall", "daemon", "zombies", "links", "fds", "shmleak", "userns", "stack", "procsys", "setrlimit", "tiocsti"),
)
SLOW = ("spin", "cpu_fork", "sleep", "forkbomb")
BOXES = 200


@pytest.mark.parametrize("tier", [Tier.CGROUP, Tier.NAMESPACES])
async def test_two_hundred_boxes_leave_nothing(tier: Tier, open_boxes: Open, scene: Scene, tmp_path: Path) -> None:
    descriptors = open_descriptors()
    boxes = await open_boxes(tier, slots=4)
    names = slot_names(boxes)
    before = surroundings(tmp_path, names)
    play = Play(boxes, scene, tmp_path / "jobs")
    acts = random.Random(int(tier)).choices(QUICK, k=BOXES - 5 * len(SLOW)) + list(SLOW) * 5
    random.Random(7).shuffle(acts)
    wrong = await asyncio.gather(*(play.perform(name, ACTS[name]) for name in acts))
    assert [f"{name}: {text}" for name, text in zip(acts, wrong, strict=True) if text] == []
    assert len(play.verdicts) == BOXES
    assert [verdict for verdict in play.verdicts if verdict.memory > 2 * LIMITS.memory] == []
    await boxes.stop()
    assert scene.processes() == []
    assert scene.harm() == ""
    assert surroundings(tmp_path, names) == before
    assert open_descriptors() == descriptors


def surroundings(folder: Path, names: list[str]) -> dict[str, object]:
    """Return what boxes could leave behind: mounts, cgroups and files."""
    scratch = Path(tempfile.gettempdir())
    return {
        "mounts": Path("/proc/self/mounts").read_text(),
        "cgroups": [group for name in names for group in Path("/sys/fs/cgroup").glob(f"*/**/crossdock-{name}-*")],
        "scratch": [place for name in names for place in scratch.glob(f"crossdock-scratch-{name}-*")],
        "output": list((folder / "state0" / "output").iterdir()),
        "anchors": [place for name in names for place in Path("/run/crossdock-sandbox").glob(f"{name}/*")],
    }


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
