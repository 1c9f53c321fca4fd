"""``ctx.artifact``: bytes of a function that come to rest outside its result."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from crossdock.artifacts.files import file_artifacts
from crossdock.core.documents import load
from crossdock.core.errors import StoreFull
from crossdock.core.jobs import ArtifactRef, OutcomeKind
from crossdock.runners.function import FunctionRunner
from unit.runners.recorder import Recorder, lease

Start = Callable[..., Awaitable[FunctionRunner]]


@pytest.mark.parametrize("how", ["bytes", "pieces", "path"])
async def test_a_child_streams_an_artifact(start: Start, tmp_path: Path, how: str) -> None:
    artifacts = file_artifacts(tmp_path / "artifacts")
    runner = await start(artifacts=artifacts)
    outcome = await runner.run(lease("store", {"how": how}), Recorder())
    told: dict[str, Any] = json.loads(outcome.result or b"")
    content = b"a" * 3_000_000
    assert told["digest"] == hashlib.sha256(content).hexdigest()
    assert told["size"] == len(content)
    assert told["media_type"] == ("text/plain" if how == "pieces" else "application/octet-stream")
    assert await load(artifacts, ArtifactRef(told["digest"], told["size"])) == content


async def test_an_async_function_streams_an_artifact(start: Start, tmp_path: Path) -> None:
    artifacts = file_artifacts(tmp_path / "artifacts")
    runner = await start(artifacts=artifacts)
    outcome = await runner.run(lease("async_store"), Recorder())
    told: dict[str, Any] = json.loads(outcome.result or b"")
    assert await load(artifacts, ArtifactRef(told["digest"], told["size"])) == b"abc"


async def test_text_is_refused(start: Start, tmp_path: Path) -> None:
    runner = await start(artifacts=file_artifacts(tmp_path / "artifacts"))
    outcome = await runner.run(lease("store", {"how": "text"}), Recorder())
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "TypeError")


class FullDisk:
    """Artifacts that take a little, and then are full."""

    async def put(self, content: Any, media_type: str = "") -> ArtifactRef:
        async for _ in content:
            raise StoreFull("the disk is full")
        raise AssertionError


async def test_a_full_disk_is_told_to_the_function_and_the_child_goes_on(start: Start) -> None:
    runner = await start(artifacts=FullDisk())
    outcome = await runner.run(lease("store", {"how": "bytes"}), Recorder())
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "unavailable")
    assert "the disk is full" in outcome.message
    pids = runner.processes()
    assert (await runner.run(lease("add", {"a": 1}), Recorder())).result == b"3"
    assert runner.processes() == pids


async def test_without_a_place_for_artifacts_the_function_is_told(start: Start) -> None:
    runner = await start()
    for kind, payload in (("store", {"how": "bytes"}), ("async_store", {})):
        outcome = await runner.run(lease(kind, payload), Recorder())
        assert "no place for artifacts" in outcome.message
