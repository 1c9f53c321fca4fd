"""The disk fills up and is freed, under load: refusals while it is full, but reads; work again soon; nothing lost."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from servers import Server

from faults.history import History, violations
from faults.judge import read_back
from faults.load import Load, Receiver

APP = f"{Path(__file__).with_name('app.py')}:app"
ROUNDS = max(10, int(os.environ.get("CROSSDOCK_FAULT_ROUNDS", "0")) // 10)
MEGABYTE = 1024 * 1024
BACK_SECONDS = 2
LARGE = "x" * 100_000

pytestmark = [pytest.mark.fault, pytest.mark.timeout(60 + 15 * ROUNDS)]


def as_root(*command: str) -> None:
    """Run a command as root, through sudo where needed."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, *command], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small file system in memory."""
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        pytest.skip("needs root or sudo to mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    try:
        as_root("mount", "-t", "tmpfs", "-o", f"size=64m,mode=777,{request.param}", "tmpfs", str(path))
    except subprocess.CalledProcessError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"cannot mount here: {error.stderr!r}")
    try:
        yield path
    finally:
        as_root("umount", "-l", str(path))


@pytest.fixture
def server(disk: Path) -> Iterator[Server]:
    server = Server(APP, disk / "data", settings=["worker.slots=2"])
    server.log = disk.parent / "serve.log"
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    """Tell whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if fact():
            return True
        time.sleep(0.05)
    return fact()


@pytest.mark.parametrize("disk", ["nr_inodes=1000"], indirect=True)
def test_a_full_disk_is_refused_and_survived(server: Server, disk: Path):
    history = History()
    receiver = Receiver(history)
    load = Load(server.url, history, receiver, longest_ms=200)
    filler = disk / "filler"
    with httpx.Client(base_url=server.url, timeout=5) as client:

        def submits() -> int:
            body = {"inputs": {"key": "probe", "ms": 0}, "subscriber": {"successUri": f"{receiver.url}/successful/probe"}}
            history.attempted.add("probe")
            headers = {"Prefer": "respond-async", "Idempotency-Key": "probe"}
            return client.post("/processes/swift/execution", json=body, headers=headers).status_code

        load.start()
        try:
            for _ in range(ROUNDS):
                time.sleep(0.3)
                fill(filler)
                assert within(10, lambda: client.get("/readyz").status_code == 503), "never noticed that the disk is full"
                assert client.get("/jobs").status_code == 200
                filler.unlink()
                assert within(BACK_SECONDS, lambda: submits() in {200, 201}), "did not come back"
        finally:
            load.stop()
        read_back(client, history)
    receiver.close()
    assert server.alive()
    assert len(history.accepted) > ROUNDS
    assert violations(history) == []


@pytest.mark.parametrize("disk", ["nr_inodes=60"], indirect=True)
def test_no_inodes_left(server: Server, disk: Path):
    """A large payload needs a file of its own; without an inode it is refused, and a small one is not."""
    with httpx.Client(base_url=server.url, timeout=5) as client:

        def submit(key: str) -> httpx.Response:
            body = {"inputs": {"key": key, "ms": 0}}
            return client.post("/processes/swift/execution", json=body, headers={"Prefer": "respond-async"})

        made: list[Path] = []
        try:
            for number in range(100):
                made.append(disk / f"empty-{number}")
                made[-1].touch()
        except OSError:
            made.pop()
        refused = submit(LARGE)
        assert refused.status_code == 503, refused.text
        assert refused.headers["content-type"].startswith("application/problem+json")
        assert submit("small").status_code == 201
        for path in made:
            path.unlink()
        assert within(BACK_SECONDS, lambda: submit(LARGE).status_code == 201)
