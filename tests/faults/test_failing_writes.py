"""The k-th write or fsync fails, for k = 1, 2, 3 …: what was acknowledged is there after a restart, and nothing else is.

After a failed fsync nothing may be acknowledged any more: the process ends. A full disk is an error one comes back from.
"""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.core.lifecycle import State
from crossdock.core.requests import Query
from faults.submitter import FATAL, broker_in

LONG = int(os.environ.get("CROSSDOCK_FAULT_ROUNDS", "0")) > 200
KS = list(range(1, 121)) if LONG else [1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 17, 22, 28, 36, 46, 59, 75]
SUBMITTER = Path(__file__).with_name("submitter.py")

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler (cc)") if not os.environ.get("CI") else pytest.fail("no C compiler")
    library = tmp_path_factory.mktemp("kth") / "kth.so"
    source = Path(__file__).with_name("kth.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def run(preload: Path, data: Path, call: str, k: int, error: int, *, stay: bool) -> subprocess.CompletedProcess[str]:
    faults = {
        "LD_PRELOAD": str(preload),
        "KTH_CALL": call,
        "KTH_COUNT": str(k),
        "KTH_ERRNO": str(error),
        "KTH_PATH": str(data),
    }
    environment = os.environ | faults | ({"KTH_STAY": "1"} if stay else {})
    command = [sys.executable, str(SUBMITTER), str(data)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def on_disk(data: Path) -> dict[int, tuple[State, str | None]]:
    """Open the data without faults and return the jobs: state and key by id."""
    broker = broker_in(data)
    await broker.open()
    try:
        page = await broker.intake.search(Query(limit=1000))
        return {job.id: (job.state, job.key) for job in page.jobs}
    finally:
        await broker.close()


def judge(data: Path, said: str) -> list[str]:
    """Compare what was acknowledged with what is there."""
    jobs = asyncio.run(on_disk(data))
    lines = [line.split() for line in said.splitlines()]
    accepted = {int(job): key for word, key, job in (line for line in lines if line[0] == "accepted")}
    finished = [int(line[1]) for line in lines if line[0] == "finished"]
    wrong = [f"lost {job}" for job, key in accepted.items() if jobs.get(job, ("", None))[1] != key]
    wrong += [f"not finished {job}" for job in finished if jobs.get(job, ("", None))[0] is not State.SUCCEEDED]
    keys = [key for _, key in jobs.values()]
    wrong += [f"twice {key}" for key in set(keys) if keys.count(key) > 1]
    return wrong


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("call", ["s", "w"])
def test_nothing_is_acknowledged_after_a_failed_write(preload: Path, tmp_path: Path, call: str, k: int):
    data = tmp_path / "data"
    data.mkdir()
    outcome = run(preload, data, call, k, errno.EIO, stay=False)
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.returncode in {0, FATAL}, outcome
    lines = outcome.stdout.splitlines()
    if outcome.returncode == FATAL and any(line.startswith("refused") for line in lines):
        first = next(n for n, line in enumerate(lines) if line.startswith("refused"))
        assert not [line for line in lines[first:] if not line.startswith("refused")], "acknowledged after a failure"
    assert judge(data, outcome.stdout) == []


@pytest.mark.parametrize("k", KS[4::3])
def test_a_full_disk_is_refused_and_nothing_is_lost(preload: Path, tmp_path: Path, k: int):
    data = tmp_path / "data"
    data.mkdir()
    outcome = run(preload, data, "w", k, errno.ENOSPC, stay=True)
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert "refused" in outcome.stdout
    assert "internal" not in outcome.stdout
    assert judge(data, outcome.stdout) == []
