"""kill -9 of the server, of its children and of workers at random moments under load; afterwards every promise holds.

The rounds are CROSSDOCK_FAULT_ROUNDS (200 without it, `make fault` has more). Each kills the server, and a worker or one of
the processes that run functions.
"""

import os
from pathlib import Path

import pytest

from faults.scene import scene

ROUNDS = int(os.environ.get("CROSSDOCK_FAULT_ROUNDS", "200"))
SEED = 20
FREEZE_EVERY = 25

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120 + 10 * ROUNDS)]


def test_nothing_is_lost_whatever_is_killed(tmp_path: Path):
    with scene(tmp_path, SEED) as here:
        for number in range(ROUNDS):
            here.pause()
            here.kill_server()
            here.pause()
            if number % 2:
                here.kill_worker()
            else:
                here.kill_child()
            if number % FREEZE_EVERY == FREEZE_EVERY - 1:
                here.freeze_worker()
        assert here.judge() == []
        assert len(here.history.accepted) > ROUNDS, "the load was too small to say anything"
        assert here.rude.reported > 0, "no stale report was made"
        assert sum(map(len, here.history.seen.values())) > ROUNDS, "too little was looked at"
