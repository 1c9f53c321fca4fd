"""Async functions, in the event loop."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.runners.function import App, Context, FunctionRunner
from unit.runners.recorder import Recorder, lease

Run = Callable[..., Awaitable[Outcome]]


async def test_a_result_comes_back(run: Run) -> None:
    assert await run("async_add", {"a": 1}) == Outcome(kind=OutcomeKind.SUCCEEDED, result=b"3")


async def test_payloads_are_checked(run: Run) -> None:
    outcome = await run("async_add", {"a": 1, "c": 2})
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "invalid")


async def test_what_was_said_arrives_in_order(run: Run, attempt: Recorder) -> None:
    await run("async_tell", {"steps": 2}, attempt)
    words = [note.log or note.progress.message for note in attempt.notes if note.log or note.progress]
    assert words == ["step 0", "line 0", "step 1", "line 1", "all"]


async def test_exceptions_and_exits_end_only_the_attempt(run: Run) -> None:
    wrong = await run("async_wrong")
    assert (wrong.kind, wrong.code) == (OutcomeKind.ERRORED, "ValueError")
    left = await run("async_exit")
    assert (left.kind, left.code) == (OutcomeKind.ERRORED, "SystemExit")


async def test_a_timeout_cancels_the_task(run: Run, attempt: Recorder) -> None:
    outcome = await run("async_stuck", {}, attempt, timeout=0.1)
    assert (outcome.kind, outcome.code) == (OutcomeKind.TIMED_OUT, "timeout")
    assert attempt.logs == ["begun", "cleaned up"]


async def test_cancelling_lets_a_function_stop_by_itself(run: Run, attempt: Recorder) -> None:
    running = asyncio.create_task(run("async_patient", {}, attempt, grace=20))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED


async def test_a_function_that_does_not_look_is_cancelled_after_the_grace_period(run: Run, attempt: Recorder) -> None:
    running = asyncio.create_task(run("async_stuck", {}, attempt, grace=0.1))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED
    assert attempt.logs == ["begun", "cleaned up"]


async def test_cancelling_the_runner_cancels_the_function(runner: FunctionRunner, attempt: Recorder) -> None:
    running = asyncio.create_task(runner.run(lease("async_stuck", grace=60), attempt))
    await attempt.until(lambda: attempt.logs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert attempt.logs == ["begun", "cleaned up"]


async def test_a_function_that_swallows_its_cancellation_is_given_up(attempt: Recorder) -> None:
    app = App()
    freed = asyncio.Event()

    @app.function("stubborn")
    async def stubborn(ctx: Context) -> None:
        ctx.log("begun")
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                ctx.log("no")

    runner = FunctionRunner(app, "nowhere.py:app")
    await runner.start()
    outcome = await runner.run(lease("stubborn", timeout=0.05), attempt)
    assert outcome.kind is OutcomeKind.TIMED_OUT
    assert attempt.logs == ["begun", "no"]
    freed.set()
    await runner.stop()


async def test_an_app_without_sync_functions_needs_no_processes() -> None:
    app = App()

    @app.function("f")
    async def f() -> int:
        return 1

    runner = FunctionRunner(app, "nowhere.py:app")
    await runner.start()
    assert (await runner.run(lease("f"), Recorder())).result == b"1"
    assert runner.processes() == []
    await runner.stop()


async def test_inputs_are_decoded_when_they_are_read(tmp_path: Path) -> None:
    app = App()

    @app.function("sum")
    async def total(ctx: Context) -> int:
        return sum(ctx.inputs)

    runner = FunctionRunner(app, "nowhere.py:app")
    outcome = await runner.run(lease("sum", inputs=(b"1", b"2")), Recorder())
    assert json.loads(outcome.result or b"") == 3
