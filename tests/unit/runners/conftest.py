"""A runner over the sample app."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from crossdock.core.jobs import Outcome
from crossdock.runners.function import FunctionRunner, load_app
from unit.runners.recorder import SAMPLE, Recorder, gone, lease

Start = Callable[..., Awaitable[FunctionRunner]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A function that starts a runner; whatever it started is stopped at the end."""
    runners: list[FunctionRunner] = []

    async def begin(reference: str = SAMPLE, **options: Any) -> FunctionRunner:
        runner = FunctionRunner(load_app(reference), reference, **{"processes": 1, **options})
        runners.append(runner)
        await runner.start()
        return runner

    yield begin
    for runner in runners:
        pids = runner.processes()
        await runner.stop()
        await gone(*pids)


@pytest.fixture
async def runner(start: Start) -> FunctionRunner:
    return await start()


@pytest.fixture
def run(runner: FunctionRunner) -> Callable[..., Awaitable[Outcome]]:
    async def begin(kind: str, payload: object = None, attempt: Recorder | None = None, **options: Any) -> Outcome:
        async with asyncio.timeout(30):
            return await runner.run(lease(kind, payload, **options), attempt or Recorder())

    return begin


@pytest.fixture
def attempt() -> Recorder:
    return Recorder()
