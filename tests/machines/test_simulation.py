"""The real core in a simulated world, and bugs planted into it that the judge has to find.

``CROSSDOCK_SIMULATION_SEEDS=100000`` plays more histories, ``CROSSDOCK_SIMULATION_FIRST=12345`` others, and
``CROSSDOCK_SIMULATION_SECONDS`` limits the time. A failure names its seed; to see it again: FIRST=that seed, SEEDS=1.
"""

import os
import time

import pytest

from machines.judge import verdict
from machines.planted import BUGS
from machines.simulation import play

SEEDS = int(os.environ.get("CROSSDOCK_SIMULATION_SEEDS", "2000"))
FIRST = int(os.environ.get("CROSSDOCK_SIMULATION_FIRST", "0"))
SECONDS = float(os.environ.get("CROSSDOCK_SIMULATION_SECONDS", "60"))
PARTS = 8
"""The seeds are dealt to so many tests, for as many processors."""


@pytest.mark.timeout(SECONDS * 20)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_history_keeps_every_promise(part):
    ends = time.monotonic() + SECONDS / PARTS * 2
    played = 0
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        broken = verdict(play(seed))
        assert not broken, f"seed {seed}: " + "; ".join(broken)
        played += 1
        if time.monotonic() > ends:
            break
    assert played or part >= SEEDS


def test_a_history_can_be_played_again():
    for seed in range(5):
        first, second = play(seed), play(seed)
        assert first.loop.now == second.loop.now
        assert first.store._tables.entries == second.store._tables.entries
        assert first.store._tables.jobs == second.store._tables.jobs
        assert first.client.told == second.client.told


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_judge_finds(bug, monkeypatch):
    bug(monkeypatch)
    for seed in range(2000):
        if verdict(play(seed)):
            return
    pytest.fail("2000 histories kept every promise in spite of the bug")
