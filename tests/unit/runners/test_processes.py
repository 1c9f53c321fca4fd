"""Sync functions in real child processes: whatever one does to itself costs its own attempt and nothing else."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from brokers import turns
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.runners.function import FunctionRunner, load_app
from crossdock.runners.function.tree import descendants
from unit.runners.recorder import SAMPLE, Recorder, gone, lease

Run = Callable[..., Awaitable[Outcome]]


async def test_a_result_comes_back(run: Run) -> None:
    outcome = await run("add", {"a": 1})
    assert outcome == Outcome(kind=OutcomeKind.SUCCEEDED, result=b"3")


async def test_one_child_serves_many_jobs(run: Run) -> None:
    pids = {json.loads((await run("whoami")).result or b"")["pid"] for _ in range(5)}
    assert len(pids) == 1


async def test_the_context_knows_the_job(run: Run) -> None:
    outcome = await run("whoami", attempt=None, inputs=(b"[1]", None, b'"x"'))
    told = json.loads(outcome.result or b"")
    assert told["job"] == encode_id(lease("whoami").job)
    assert (told["attempt"], told["inputs"]) == (1, [[1], None, "x"])


async def test_what_was_said_arrives_in_order_and_before_the_end(run: Run, attempt: Recorder) -> None:
    assert (await run("tell", {"steps": 3}, attempt)).result == b'"told"'
    words = [note.log or note.progress.message for note in attempt.notes if note.log or note.progress]
    assert words == ["step 0", "line 0", "step 1", "line 1", "step 2", "line 2", "all"]
    assert attempt.notes[-1].progress is not None
    assert (attempt.notes[-1].progress.done, attempt.notes[-1].progress.total) == (3, 3)


async def test_a_flood_of_progress_is_thinned_out_and_its_last_word_arrives(run: Run, attempt: Recorder) -> None:
    running = asyncio.create_task(run("chatter", {"times": 20_000}, attempt))
    # The function is still running when its last word has come, so nothing else can have pushed it out.
    await attempt.until(lambda: attempt.notes and attempt.notes[-1].progress and attempt.notes[-1].progress.done == 20_000)
    attempt.cancel()
    await running
    assert len(attempt.notes) < 200


async def test_output_of_user_code_does_not_disturb_the_wire(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Awaitable[FunctionRunner]]
) -> None:
    runner = await start()
    assert (await runner.run(lease("print"), Recorder())).result == b'"printed"'
    assert (await runner.run(lease("add", {"a": 1}), Recorder())).result == b"3"
    said = capfd.readouterr().err
    assert "not a frame" in said
    assert "to the descriptor" in said


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        ("segfault", {}, "SIGSEGV"),
        ("exit", {"status": 3}, "status 3"),
        ("exit", {"status": 4, "hard": True}, "status 4"),
        ("exit", {"status": 0}, "status 0"),
    ],
)
async def test_a_child_that_dies_costs_only_its_attempt(run: Run, kind: str, payload: object, message: str) -> None:
    outcome = await run(kind, payload)
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "worker_died")
    assert message in outcome.message
    assert (await run("add", {"a": 1})).result == b"3"


async def test_a_child_that_writes_on_our_wire_is_ended(run: Run) -> None:
    assert (await run("vandalise")).code == "worker_died"
    assert (await run("add", {"a": 1})).result == b"3"


async def test_a_child_that_dies_does_not_disturb_its_neighbours(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start(processes=2)
    neighbour = Recorder()
    running = asyncio.create_task(runner.run(lease("patient"), neighbour))
    await neighbour.until(lambda: neighbour.logs)
    assert (await runner.run(lease("segfault"), Recorder())).code == "worker_died"
    assert not running.done()
    neighbour.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED


async def test_an_idle_child_that_was_killed_is_replaced(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start()
    before = json.loads((await runner.run(lease("whoami"), Recorder())).result or b"")["pid"]
    os.kill(before, signal.SIGKILL)
    await gone(before)
    after = json.loads((await runner.run(lease("whoami"), Recorder())).result or b"")["pid"]
    assert after != before


async def test_plain_exceptions_are_errors_with_a_traceback_in_the_log(run: Run, attempt: Recorder) -> None:
    outcome = await run("wrong", {}, attempt)
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "ValueError")
    assert outcome.message == "ValueError: seven is no colour"
    assert "sample.py" in attempt.logs[0]


async def test_failed_and_retry_say_what_they_mean(run: Run) -> None:
    failed = await run("failed")
    assert (failed.kind, failed.code, failed.message) == (OutcomeKind.FAILED, "422", "there is no such street")
    again = await run("again")
    assert (again.kind, again.code, again.retry_after) == (OutcomeKind.ERRORED, "retry", 7)


async def test_exceptions_named_as_not_retryable_fail_the_job(run: Run) -> None:
    assert (await run("fatal")).kind is OutcomeKind.FAILED
    assert load_app(SAMPLE).kinds()["fatal"].policy.non_retryable == ("OSError",)


async def test_a_result_that_is_no_json_fails_the_job(run: Run) -> None:
    outcome = await run("unwritable")
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "result_not_json")
    assert "builtins.object" in outcome.message


async def test_a_payload_that_does_not_fit_fails_the_job(run: Run) -> None:
    outcome = await run("add", {"a": "1"})
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "invalid")


async def test_an_unknown_kind_is_an_error_of_ours(run: Run) -> None:
    assert (await run("nothing")).code == "unknown_kind"


async def test_an_attempt_that_takes_too_long_is_killed_with_all_its_descendants(run: Run, attempt: Recorder) -> None:
    outcome = await run("stuck", {}, attempt, timeout=0.5)
    assert (outcome.kind, outcome.code) == (OutcomeKind.TIMED_OUT, "timeout")
    await gone(*map(int, attempt.logs[0].split()))
    assert (await run("add", {"a": 1})).result == b"3"


async def test_cancelling_lets_a_function_stop_by_itself(run: Run, attempt: Recorder) -> None:
    running = asyncio.create_task(run("patient", {}, attempt, grace=20))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED


async def test_a_function_that_does_not_stop_is_killed_after_the_grace_period(run: Run, attempt: Recorder) -> None:
    running = asyncio.create_task(run("stuck", {}, attempt, grace=0.3))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED
    await gone(*map(int, attempt.logs[0].split()))


async def test_cancelling_the_task_kills_at_once(runner: FunctionRunner, attempt: Recorder) -> None:
    running = asyncio.create_task(runner.run(lease("stuck", grace=60), attempt))
    await attempt.until(lambda: attempt.logs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(*map(int, attempt.logs[0].split()))
    assert (await runner.run(lease("add", {"a": 1}), Recorder())).result == b"3"


async def test_a_cancel_for_a_job_that_has_just_ended_does_not_hit_the_next(runner: FunctionRunner) -> None:
    for _ in range(20):
        attempt = Recorder()
        running = asyncio.create_task(runner.run(lease("add", {"a": 1}), attempt))
        await asyncio.sleep(0)
        attempt.cancel()
        await running
    assert (await runner.run(lease("tell"), Recorder())).kind is OutcomeKind.SUCCEEDED


async def test_too_much_memory_at_once_is_refused(run: Run) -> None:
    assert (await run("hog", {"size": 1000})).result == b"1000"
    outcome = await run("hog", {"size": 10**9})
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "memory_limit")
    # The limit is lifted again for a job of another kind in the same child.
    assert len((await run("big", {"size": 200_000_000})).result or b"") == 200_000_002


async def test_memory_counts_over_all_descendants(run: Run, attempt: Recorder) -> None:
    outcome = await run("hog_below", {}, attempt)
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "memory_limit")


async def test_a_limit_for_kinds_that_have_none(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start(memory=150_000_000)
    assert (await runner.run(lease("big", {"size": 10**9}), Recorder())).code == "memory_limit"


async def test_large_payloads_and_results_pass(run: Run) -> None:
    text = "x" * 20_000_000
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.thread_time()
    outcome = await run("echo", text)
    ticking.cancel()
    assert outcome.result == b'"' + text.encode() + b'"'
    # The loop went on meanwhile: at least one turn per 100 ms of its own work.
    assert ticks >= (time.thread_time() - began) * 10 - 1


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_job_can_be_cancelled_while_its_payload_is_on_its_way(run: Run, attempt: Recorder, goes_on: bool) -> None:
    """A child that is slow to read gets the payload whole and then the word to stop; one that never reads is killed."""
    child = json.loads((await run("whoami")).result or b"")["pid"]
    os.kill(child, signal.SIGSTOP)
    running = asyncio.create_task(run("await_cancel", "x" * 20_000_000, attempt, grace=3600 if goes_on else 0.1))
    await turns()
    attempt.cancel()
    await turns()
    if goes_on:
        os.kill(child, signal.SIGCONT)
    assert (await running).kind is OutcomeKind.CANCELLED
    assert attempt.logs == (["20000000"] if goes_on else [])
    assert (await run("add", {"a": 1})).result == b"3"


async def test_children_wear_out_by_count(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start(recycle_after=3)
    pids = [json.loads((await runner.run(lease("whoami"), Recorder())).result or b"")["pid"] for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    await gone(pids[0], pids[3])


async def test_children_wear_out_by_memory(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start(recycle_memory=200_000_000, recycle_after=0)
    pids = [int((await runner.run(lease("leak", {"size": 90_000_000}), Recorder())).result or b"") for _ in range(4)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2]


async def test_jobs_wait_for_a_free_child(start: Callable[..., Awaitable[FunctionRunner]]) -> None:
    runner = await start(processes=2)
    outcomes = await asyncio.gather(*(runner.run(lease("add", {"a": i}), Recorder()) for i in range(20)))
    assert [outcome.result for outcome in outcomes] == [b"%d" % (i + 2) for i in range(20)]
    assert len(runner.processes()) == 2


async def test_more_children_than_processors_start_when_they_are_needed(
    start: Callable[..., Awaitable[FunctionRunner]],
) -> None:
    count = (os.cpu_count() or 1) + 2
    runner = await start(processes=count)
    assert len(runner.processes()) == count - 2
    attempts = [Recorder() for _ in range(count)]
    running = [asyncio.create_task(runner.run(lease("patient"), attempt)) for attempt in attempts]
    for attempt in attempts:
        await attempt.until(lambda attempt=attempt: attempt.logs)
    assert len(runner.processes()) == count
    for attempt in attempts:
        attempt.cancel()
    await asyncio.gather(*running)


async def test_an_app_that_cannot_be_loaded_in_a_child_says_why(
    start: Callable[..., Awaitable[FunctionRunner]], tmp_path: Path
) -> None:
    path = tmp_path / "fickle.py"
    text = "from crossdock import App\napp = App()\n@app.function('f')\ndef f(): return 1\n"
    path.write_text(text)
    load_app(f"{path}:app")
    runner = FunctionRunner(load_app(f"{path}:app"), f"{path}:app", processes=2)
    path.write_text(text + "raise RuntimeError('not today')\n")
    await runner.start()
    try:
        outcomes = await asyncio.gather(*(runner.run(lease("f"), Recorder()) for _ in range(5)))
        assert {outcome.code for outcome in outcomes} == {"worker_start"}
        assert "not today" in outcomes[0].message
        path.write_text(text)
        assert (await runner.run(lease("f"), Recorder())).result == b"1"
    finally:
        await runner.stop()


async def test_stop_ends_every_process(start: Callable[..., Awaitable[FunctionRunner]], attempt: Recorder) -> None:
    runner = await start(processes=2)
    running = asyncio.create_task(runner.run(lease("stuck"), attempt))
    await attempt.until(lambda: attempt.logs)
    pids = runner.processes()
    below = [pid for child in pids for pid in descendants(child)]
    assert len(below) == 2
    await runner.stop()
    assert (await running).code == "worker_died"
    await gone(*pids, *below)
