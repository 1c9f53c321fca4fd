"""The kill test and its checker find bugs that are planted in the server: what cannot fail proves nothing."""

from pathlib import Path

import pytest

from faults.scene import Scene, scene

FAULTS = 6
SEED = 7

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("bug", "fault", "complaints"),
    [
        ("acknowledge_early", Scene.kill_server, ("lost",)),
        ("notify_early", Scene.kill_server, ("two ends",)),
        ("no_fencing", Scene.freeze_worker, ("two ends", "not one end")),
    ],
)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str, fault, complaints: tuple[str, ...]):
    found: list[str] = []
    for seed in range(SEED, SEED + 3):
        directory = tmp_path / str(seed)
        directory.mkdir()
        with scene(directory, seed, bug) as here:
            for _ in range(FAULTS):
                here.pause()
                fault(here)
            found = here.judge()
        if any(line.startswith(complaints) for line in found):
            return
    pytest.fail(f"{bug} was not found: {found[:5]}")
