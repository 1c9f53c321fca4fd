"""What every implementation of the ``Artifacts`` port does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from crossdock.artifacts.files import file_artifacts
from crossdock.artifacts.objects import ObjectArtifacts
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef
from crossdock.core.ports import Artifacts

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Backend:
    """One implementation: how it is made with a number of seconds for which it keeps young artifacts."""

    make: Callable[[Path, float], Artifacts]


BACKENDS = {
    "files": Backend(lambda path, keep: file_artifacts(path / "artifacts", keep=keep)),
    "objects": Backend(lambda _, keep: ObjectArtifacts(MemoryStore(), keep=keep)),
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def artifacts(backend: Backend, tmp_path: Path) -> Artifacts:
    return backend.make(tmp_path, 3600)


async def read(artifacts: Artifacts, ref: ArtifactRef, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in artifacts.read(ref, start, end)])


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 300_000, bytes(range(256)) * 40_000])
async def test_what_was_put_is_read_back(artifacts: Artifacts, content: bytes) -> None:
    ref = await artifacts.put(content, "text/plain")
    assert ref == ArtifactRef(hashlib.sha256(content).hexdigest(), len(content), "text/plain")
    assert await read(artifacts, ref) == content


async def test_chunks_and_bytes_are_the_same_artifact(artifacts: Artifacts) -> None:
    whole = await artifacts.put(b"one two")
    assert await artifacts.put(chunks(b"one", b"", b" two")) == whole
    assert await artifacts.put(b"one two") == whole
    assert await read(artifacts, whole) == b"one two"


async def test_an_empty_stream_is_an_artifact(artifacts: Artifacts) -> None:
    ref = await artifacts.put(chunks())
    assert ref.size == 0
    assert await read(artifacts, ref) == b""


@pytest.mark.parametrize(
    ("start", "end"), [(0, 0), (0, 1), (3, 7), (5, None), (9, 10), (9, 99), (10, None), (50, 60), (4, 2)]
)
async def test_ranges_are_those_of_a_slice(artifacts: Artifacts, start: int, end: int | None) -> None:
    ref = await artifacts.put(b"0123456789")
    assert await read(artifacts, ref, start, end) == b"0123456789"[start:end]


@pytest.mark.parametrize(
    "digest", ["0" * 64, "", "../../../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "/" * 64, "0" * 63 + "\n"]
)
@pytest.mark.parametrize("bounds", [(0, None), (9, 9)])
async def test_what_is_not_there_is_not_found(artifacts: Artifacts, digest: str, bounds: tuple[int, int | None]) -> None:
    with pytest.raises(CrossdockError) as caught:
        await read(artifacts, ArtifactRef(digest, 10), *bounds)
    assert caught.value.code is Code.NOT_FOUND


async def test_a_failing_source_leaves_nothing_and_its_error_comes_through(artifacts: Artifacts) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 6 * MEGABYTE
        raise RuntimeError("the peer went away")

    with pytest.raises(RuntimeError, match="the peer went away"):
        await artifacts.put(failing())
    digest = hashlib.sha256(b"x" * 6 * MEGABYTE).hexdigest()
    with pytest.raises(CrossdockError):
        await read(artifacts, ArtifactRef(digest, 6 * MEGABYTE))


async def test_a_cancelled_put_leaves_nothing(artifacts: Artifacts) -> None:
    reached = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield b"y" * 6 * MEGABYTE
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(artifacts.put(hanging()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    digest = hashlib.sha256(b"y" * 6 * MEGABYTE).hexdigest()
    with pytest.raises(CrossdockError):
        await read(artifacts, ArtifactRef(digest, 6 * MEGABYTE))


async def test_many_at_once(artifacts: Artifacts) -> None:
    contents = [str(number % 7).encode() * 1000 for number in range(40)]
    refs = await asyncio.gather(*(artifacts.put(chunks(content)) for content in contents))
    assert [await read(artifacts, ref) for ref in refs] == contents


async def test_the_young_are_kept(artifacts: Artifacts) -> None:
    ref = await artifacts.put(b"young")
    await artifacts.delete([ref.digest, "0" * 64])
    assert await read(artifacts, ref) == b"young"


async def test_the_old_are_deleted(backend: Backend, tmp_path: Path) -> None:
    artifacts = backend.make(tmp_path, 0)
    gone, kept = await artifacts.put(b"gone"), await artifacts.put(b"kept")
    await artifacts.delete([gone.digest])
    await artifacts.delete([gone.digest])
    assert await read(artifacts, kept) == b"kept"
    with pytest.raises(CrossdockError):
        await read(artifacts, gone)
