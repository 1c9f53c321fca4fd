"""Artifacts as files: what reaches the disk, what happens when there is no space, and how much memory a stream takes."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossdock.artifacts import objects
from crossdock.artifacts.files import FileSettler, file_artifacts
from crossdock.core.errors import StoreBroken, StoreFull

STREAM = """
import asyncio, resource, sys
from pathlib import Path
from crossdock.artifacts.files import file_artifacts

async def source():
    for number in range(50):
        yield bytes([number]) * (1 << 20)

async def main():
    artifacts = file_artifacts(Path(sys.argv[1]))
    await artifacts.put(b"warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ref = await artifacts.put(source())
    size = 0
    async for chunk in artifacts.read(ref):
        size += len(chunk)
    assert size == ref.size == 50 << 20
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

asyncio.run(main())
"""

NO_SPACE = """
import asyncio, resource, sys
from pathlib import Path
from crossdock.artifacts.files import file_artifacts
from crossdock.core.errors import StoreFull

async def source():
    for _ in range(12):
        yield b"x" * (1 << 20)

async def main():
    artifacts = file_artifacts(Path(sys.argv[1]))
    small = await artifacts.put(b"small")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    for content in (b"x" * (3 << 20), source()):
        try:
            await artifacts.put(content)
        except StoreFull:
            print("full")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await artifacts.put(b"x" * (3 << 20))
    print("again")

asyncio.run(main())
"""


def run(script: str, root: Path) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(root)], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_fifty_megabytes_pass_through_bounded_memory(tmp_path: Path) -> None:
    (megabytes,) = run(STREAM, tmp_path)
    assert int(megabytes) < 35


@pytest.mark.fault
def test_no_space_leaves_nothing_behind_and_goes_away_with_its_cause(tmp_path: Path) -> None:
    assert run(NO_SPACE, tmp_path) == ["full", "full", "again"]
    assert [(tmp_path / name).stat().st_size for name in files(tmp_path)] in ([5, 3 << 20], [3 << 20, 5])


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
def test_a_full_disk_is_reported_and_left_as_it_was(tmp_path: Path) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        artifacts = file_artifacts(tmp_path / "artifacts")
        ref = asyncio.run(artifacts.put(b"y" * 1_000_000))
        with pytest.raises(StoreFull):
            asyncio.run(artifacts.put(b"x" * 1_500_000))
        assert files(tmp_path / "artifacts") == [f"{ref.digest[:2]}/{ref.digest[2:4]}/{ref.digest}"]
        asyncio.run(artifacts.put(b"z" * 500_000))
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


async def test_content_is_on_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.relative_to(tmp_path).as_posix())
        real(descriptor)

    artifacts = file_artifacts(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    ref = await artifacts.put(b"content")
    shard = f"{ref.digest[:2]}/{ref.digest[2:4]}"
    assert synced[0].startswith("incoming/")
    assert synced[1:] == [shard, ref.digest[:2], "."]


class FailingSettler(FileSettler):
    def content(self, path: str) -> None:
        raise OSError(5, "Input/output error")


async def test_a_failed_fsync_never_becomes_an_artifact(tmp_path: Path) -> None:
    artifacts = file_artifacts(tmp_path)
    artifacts = objects.ObjectArtifacts(artifacts._store, FailingSettler(tmp_path))
    with pytest.raises(StoreBroken):
        await artifacts.put(b"content")
    assert files(tmp_path) == []


async def test_storing_again_makes_young(tmp_path: Path) -> None:
    artifacts = file_artifacts(tmp_path)
    ref = await artifacts.put(b"content")
    place = tmp_path / files(tmp_path)[0]
    for content in (b"content", one(b"content")):
        os.utime(place, (0, 0))
        assert await artifacts.put(content) == ref
        await artifacts.delete([ref.digest])
        assert place.read_bytes() == b"content"
    os.utime(place, (0, 0))
    await artifacts.delete([ref.digest])
    assert files(tmp_path) == []


async def test_storing_the_young_again_writes_nothing(tmp_path: Path) -> None:
    artifacts = file_artifacts(tmp_path)
    await artifacts.put(b"content")
    place = tmp_path / files(tmp_path)[0]
    inode = place.stat().st_ino
    await artifacts.put(b"content")
    assert place.stat().st_ino == inode


def test_old_leftovers_are_removed_at_the_start_and_young_ones_may_be_somebodys(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for name in ("abandoned#1", "abandoned", "busy#1"):
        (incoming / name).write_bytes(b"half")
    for name in ("abandoned#1", "abandoned"):
        os.utime(incoming / name, (0, 0))
    file_artifacts(tmp_path)
    assert files(tmp_path) == ["incoming/busy#1"]


async def one(content: bytes) -> AsyncIterator[bytes]:
    yield content
