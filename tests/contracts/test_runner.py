"""What every implementation of the ``Runner`` port does. It knows leases and attempts, and nothing of a broker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from crossdock.core.jobs import OutcomeKind
from crossdock.core.ports import Runner
from crossdock.runners.function import FunctionRunner, load_app
from unit.runners.recorder import SAMPLE, Recorder, chunk, lease


@dataclass(frozen=True)
class Kinds:
    """What a runner calls the kinds that the suite needs."""

    echo: str
    tell: str
    wrong: str
    patient: str
    stuck: str
    member: str


BACKENDS = {
    "processes": Kinds("echo", "tell", "wrong", "patient", "stuck", "member"),
    "loop": Kinds("async_echo", "async_tell", "async_wrong", "async_patient", "async_stuck", "async_member"),
}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def kinds(request: pytest.FixtureRequest) -> Kinds:
    return request.param


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    runner = FunctionRunner(load_app(SAMPLE), SAMPLE, processes=2)
    await runner.start()
    yield runner
    await runner.stop()


@pytest.fixture
def attempt() -> Recorder:
    return Recorder()


@pytest.mark.parametrize("payload", [None, "", {"a": [1, 2.5, "ä"]}, 2**80])
async def test_a_success_has_a_result(runner: Runner, attempt: Recorder, kinds: Kinds, payload: object) -> None:
    asked = lease(kinds.echo, payload)
    outcome = await runner.run(asked, attempt)
    assert (outcome.kind, outcome.result) == (OutcomeKind.SUCCEEDED, asked.payload)


async def test_a_failure_has_a_code_and_a_message(runner: Runner, attempt: Recorder, kinds: Kinds) -> None:
    outcome = await runner.run(lease(kinds.wrong), attempt)
    assert outcome.kind is OutcomeKind.ERRORED
    assert outcome.code
    assert outcome.message
    assert outcome.result is None


async def test_notes_come_in_order_before_the_end(runner: Runner, attempt: Recorder, kinds: Kinds) -> None:
    await runner.run(lease(kinds.tell, {"steps": 3}), attempt)
    assert attempt.logs == ["line 0", "line 1", "line 2"]
    assert attempt.notes[-1].progress is not None
    assert attempt.notes[-1].progress.done == 3


async def test_too_long_is_timed_out(runner: Runner, attempt: Recorder, kinds: Kinds) -> None:
    outcome = await runner.run(lease(kinds.stuck, timeout=0.2), attempt)
    assert outcome.kind is OutcomeKind.TIMED_OUT


@pytest.mark.parametrize("willing", [True, False])
async def test_asked_to_stop_it_is_cancelled(runner: Runner, attempt: Recorder, kinds: Kinds, willing: bool) -> None:
    asked = lease(kinds.patient, grace=60) if willing else lease(kinds.stuck, grace=0.1)
    running = asyncio.create_task(runner.run(asked, attempt))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED


async def test_cancelling_the_task_ends_the_attempt(runner: Runner, attempt: Recorder, kinds: Kinds) -> None:
    running = asyncio.create_task(runner.run(lease(kinds.stuck, grace=60), attempt))
    await attempt.until(lambda: attempt.logs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_attempts_run_side_by_side(runner: Runner, kinds: Kinds) -> None:
    attempts = [Recorder(), Recorder()]
    running = [asyncio.create_task(runner.run(lease(kinds.patient, grace=60), attempt)) for attempt in attempts]
    for attempt in attempts:
        await attempt.until(lambda attempt=attempt: attempt.logs)
    for attempt in attempts:
        attempt.cancel()
    assert {outcome.kind for outcome in await asyncio.gather(*running)} == {OutcomeKind.CANCELLED}


async def test_every_member_of_a_chunk_is_reported(runner: Runner, attempt: Recorder, kinds: Kinds) -> None:
    outcome = await runner.run(chunk(kinds.member, 50), attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert [member.index for member in attempt.members] == list(range(10, 60))
    assert {member.outcome.kind for member in attempt.members} == {OutcomeKind.SUCCEEDED}


async def test_a_kind_that_is_not_there_is_an_error(runner: Runner, attempt: Recorder) -> None:
    assert (await runner.run(lease("nothing_like_it"), attempt)).kind is OutcomeKind.ERRORED


async def test_stopping_twice_is_harmless(runner: Runner) -> None:
    await runner.stop()
