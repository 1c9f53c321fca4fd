"""The backend of json-bus: what is pushed, which results count, and what every crash leaves behind."""

import asyncio
import json

import pytest

from brokers import turns
from crossdock.core.errors import Code, CrossdockError, StoreFull
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArtifactRef, Outcome, OutcomeKind
from crossdock.protocols.jsonbus.backend import SPACE, JsonbusRunner, backend_parts
from crossdock.protocols.jsonbus.backend_jobs import reason_in
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.kinds import backend_kind
from crossdock.protocols.jsonbus.messages import Job, Task
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.payloads import data_of
from crossdock.protocols.jsonbus.topology import JOBS, Queue
from unit.jsonbus.runner_scene import HURRIED, Run, Scene, again, chunk, lease

OPTIONS = BackendOptions(name="thumb", jobs_key="thumb_jobs", results_key="thumb_results", lease=60.0)
RESULTS = "svc.thumb.results"
LATE = "answers to attempts that were over"
TWICE = "answers that came twice"
UNKNOWN = "answers that nobody waits for"


def runner_of(scene, **options):
    options = BackendOptions(**{name: getattr(OPTIONS, name) for name in OPTIONS.__struct_fields__} | options)
    return JsonbusRunner(options, scene.bus, scene.drawers, scene.artifacts, scene.clock, patience=HURRIED)


@pytest.fixture
async def scene():
    scene = Scene()
    scene.bus.declare("thumb_jobs")
    await scene.begin(runner_of(scene))
    yield scene
    await scene.runner.stop()


async def pushed(scene):
    """Take the next job out of the workers' queue, once its push was confirmed."""
    message = decode((await scene.bus.get("thumb_jobs")).body)
    await turns(5)
    assert isinstance(message, Job | Task)
    return message


def result(job, status="success", data=None, **changes):
    """Return the body of a result for a pushed job, as a worker that copies the job writes it."""
    echo = {"id": job.id, "taskId": job.task_id, "createTime": job.create_time, "status": status, "attempt": job.attempt}
    body = {"job": {name: value for name, value in (echo | changes).items() if value is not None}, "type": "result"}
    return json.dumps(body if data is None else {**body, "data": data}).encode()


def answer(scene, job, *args, **changes):
    assert scene.bus.send(result(job, *args, **changes), "thumb_results")


async def idle(scene):
    """Let the runner do all that it does beside."""
    await turns()
    await scene.runner._waiting.keep_strays()


def record(scene, run):
    return scene.drawers.records.get((SPACE, run.name))


# A job there and back


async def test_a_lease_is_pushed_as_a_job_and_ends_with_its_result(scene):
    run = scene.run(lease(b'{"url":"x","n":1.50}', attempt=2))
    letter = await scene.bus.get("thumb_jobs")
    job = decode(letter.body)
    assert (job.id, job.task_id, job.status, job.attempt, job.params) == (
        run.name,
        run.name,
        "new",
        2,
        b'{"url":"x","n":1.50}',
    )
    assert (letter.exchange, letter.kind, letter.id, letter.headers["x-attempt"]) == ("jsonbus", "job", f"{run.name}.2", 2)
    answer(scene, job, data={"width": 3})
    outcome = await run.outcome()
    assert (outcome.kind, outcome.result) == (OutcomeKind.SUCCEEDED, b'{"width": 3}')


async def test_a_result_may_be_there_before_the_confirm(scene):
    run = scene.run(lease())
    answer(scene, decode((await scene.bus.get("thumb_jobs")).body), data=1)
    assert (await run.ended()).result == b"1"
    assert scene.drawers.records == {}


async def test_a_result_without_data_is_null(scene):
    run = scene.run(lease())
    answer(scene, await pushed(scene))
    assert (await run.ended()).result == b"null"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("it broke", "it broke"),
        ({"message": "it broke", "line": 3}, "it broke"),
        ({"error": "it broke"}, "it broke"),
        ({"line": 3}, '{"line": 3}'),
        (None, "the worker says that the job failed"),
    ],
)
async def test_a_failure_is_one_of_the_attempt_and_says_why(scene, data, message):
    run = scene.run(lease())
    answer(scene, await pushed(scene), "fail", data)
    outcome = await run.ended()
    assert (outcome.kind, outcome.code, outcome.message) == (OutcomeKind.ERRORED, "job_failed", message)


async def test_data_stand_where_foreign_workers_look_for_them(scene):
    scene.run(lease(b'{"a":1,"data":[1,2]}'))
    job = await pushed(scene)
    assert (job.params, job.data) == (b'{"a":1,"data":[1,2]}', b"[1,2]")


async def test_lists_that_php_made_objects_of_are_lists_again_if_wanted(scene):
    for wanted, text in ((False, b'{"0": 1, "1": 2}'), (True, b"[ 1,  2]")):
        await scene.kill()
        await scene.begin(runner_of(scene, lists=wanted))
        run = scene.run(lease())
        answer(scene, await pushed(scene), data={"0": 1, "1": 2})
        assert (await run.ended()).result == text


async def test_a_task_is_sent_where_that_is_wanted_and_any_job_made_of_it_answers(scene):
    await scene.kill()
    await scene.begin(runner_of(scene, message="task"))
    run = scene.run(lease())
    task = await pushed(scene)
    assert isinstance(task, Task)
    assert (task.id, task.status, task.extra["attempt"]) == (run.name, "active", b"1")
    made = Job(id="of their own", task_id=task.id, create_time="now", status="new")
    answer(scene, made, data=5)
    assert (await run.ended()).result == b"5"


async def test_our_own_workers_have_a_queue_of_their_own():
    scene = Scene()
    await scene.begin(runner_of(scene, foreign=False))
    run = scene.run(lease())
    letter = await scene.bus.get("svc.thumb.jobs")
    assert letter.exchange == JOBS
    answer(scene, decode(letter.body), data=1)
    assert (await run.ended()).kind is OutcomeKind.SUCCEEDED
    await scene.runner.stop()


def test_the_queue_of_foreign_workers_is_not_declared():
    assert "thumb_jobs" not in {part.name for part in backend_parts(OPTIONS) if isinstance(part, Queue)}


async def test_members_of_an_array_are_jobs_of_one_task(scene):
    run = scene.run(chunk(3, attempts=(1, 4, 1)))
    for index, attempt in enumerate((1, 4, 1)):
        job = await pushed(scene)
        assert (job.id, job.task_id, job.attempt) == (f"{run.name}.{index}", run.name, attempt)
        assert json.loads(job.params) == {"p": 1, "index": index}
        answer(scene, job, "fail" if index == 1 else "success", index)
    assert (await run.ended()).kind is OutcomeKind.SUCCEEDED
    assert [member.outcome.kind for member in run.attempt.members] == [
        OutcomeKind.SUCCEEDED,
        OutcomeKind.ERRORED,
        OutcomeKind.SUCCEEDED,
    ]


# No worker, no connection


async def test_a_job_waits_for_a_worker_that_is_not_there_yet(scene):
    scene.bus.vanish("thumb_jobs")
    run = scene.run(lease())
    await run.attempt.until(lambda: run.attempt.logs)
    assert run.attempt.logs == [
        "no worker of the backend 'thumb' is there: no queue is bound under 'thumb_jobs'; it is tried again"
    ]
    scene.bus.declare("thumb_jobs")
    answer(scene, await pushed(scene))
    assert (await run.ended()).kind is OutcomeKind.SUCCEEDED
    assert len(run.attempt.logs) == 1


async def test_a_job_waits_for_the_connection_and_says_so_once(scene):
    scene.bus.go()
    run = scene.run(lease())
    await run.attempt.until(lambda: run.attempt.logs)
    scene.bus.come()
    answer(scene, await pushed(scene))
    assert (await run.ended()).kind is OutcomeKind.SUCCEEDED


async def test_a_push_whose_confirm_was_lost_is_repeated_and_counts_once(scene):
    scene.bus.lose = 1
    run = scene.run(lease())
    first, second = await pushed(scene), await pushed(scene)
    assert (first.id, first.attempt) == (second.id, second.attempt)
    answer(scene, first, data=1)
    answer(scene, second, data=2)
    assert (await run.ended()).result == b"1"
    await idle(scene)
    assert scene.counted in ({TWICE: 1}, {UNKNOWN: 1})
    assert scene.settled(RESULTS) == ["accepted", "accepted"]


async def test_what_is_too_large_for_the_broker_fails_for_good(scene):
    scene.bus.largest = 10
    outcome = await scene.run(lease()).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, Code.TOO_LARGE)


async def test_what_nobody_could_read_fails_for_good(scene):
    outcome = await scene.run(lease(b'{"a": NaN}')).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, Code.INVALID)


# Time, and being asked to stop


async def test_a_job_without_a_result_is_pushed_again_under_a_higher_number(scene):
    run = scene.run(lease())
    first = await pushed(scene)
    scene.clock.advance(60)
    outcome = await run.ended()
    assert (outcome.kind, outcome.message) == (OutcomeKind.TIMED_OUT, "no result came within 60 s of the push")
    run = scene.run(again(run, attempt=2))
    second = await pushed(scene)
    assert (second.id, second.attempt, second.status) == (first.id, 2, "new")
    answer(scene, first, data="late")
    answer(scene, second, data="in time")
    assert (await run.ended()).result == b'"in time"'
    assert scene.counted == {LATE: 1}


async def test_a_result_without_a_number_is_one_of_the_newest_push(scene):
    run = scene.run(lease(attempt=2))
    answer(scene, await pushed(scene), data=1, attempt=None)
    assert (await run.ended()).result == b"1"


async def test_a_success_that_comes_between_two_attempts_spares_the_second(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    scene.clock.advance(60)
    await run.ended()
    answer(scene, job, data="late")
    await idle(scene)
    assert scene.settled(RESULTS) == ["accepted"]
    run = scene.run(again(run, attempt=2))
    assert (await run.ended()).result == b'"late"'
    assert scene.bus.size("thumb_jobs") == 0
    assert record(scene, run) is None


async def test_a_failure_that_comes_between_two_attempts_changes_nothing(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    scene.clock.advance(60)
    await run.ended()
    answer(scene, job, "fail")
    await idle(scene)
    run = scene.run(again(run, attempt=2))
    answer(scene, await pushed(scene), data=2)
    assert (await run.ended()).result == b"2"


async def test_a_job_that_is_cancelled_is_abandoned(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    run.attempt.cancel()
    assert (await run.ended()).kind is OutcomeKind.CANCELLED
    answer(scene, job)
    await idle(scene)
    assert scene.counted == {UNKNOWN: 1}
    assert scene.settled(RESULTS) == ["accepted"]
    assert record(scene, run) is None


async def test_a_chunk_that_is_cancelled_pushes_nothing_more(scene):
    run = scene.run(chunk(3))
    await pushed(scene)
    run.attempt.cancel()
    assert (await run.ended()).kind is OutcomeKind.CANCELLED
    assert (scene.bus.size("thumb_jobs"), run.attempt.members) == (0, [])


# What is accepted when


async def test_a_result_is_accepted_when_the_end_of_the_job_is_on_disk(scene):
    run = scene.run(lease())
    answer(scene, await pushed(scene))
    await run.outcome()
    assert scene.settled(RESULTS) == []
    assert record(scene, run) is not None
    run.report()
    assert scene.settled(RESULTS) == ["accepted"]
    assert record(scene, run) is None


async def test_a_result_that_the_broker_of_jobs_did_not_hear_of_comes_again(scene):
    run = scene.run(lease())
    answer(scene, await pushed(scene), data=7)
    await run.outcome()
    run.report(taken=False)
    await idle(scene)
    run = scene.run(again(run))
    assert (await run.ended()).result == b"7"
    assert scene.bus.size("thumb_jobs") == 0


async def test_double_results_count_once(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    for number in range(3):
        answer(scene, job, data=number)
    assert (await run.ended()).result == b"0"
    answer(scene, job, data=3)
    await idle(scene)
    assert sum(scene.counted.values()) == 3
    assert scene.settled(RESULTS) == ["accepted"] * 4


async def test_members_are_accepted_one_by_one(scene):
    run = scene.run(chunk(2))
    answer(scene, await pushed(scene))
    second = await pushed(scene)
    run.report()
    assert scene.settled(RESULTS) == ["accepted"]
    answer(scene, second)
    await run.ended()
    assert scene.settled(RESULTS) == ["accepted", "accepted"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 600,
        b'{"type":"result"}',
        b'{"type":"notification","requestId":"1","status":"success","message":""}',
        b'{"type":"result","job":{"id":"1","taskId":"1","createTime":"","status":"new"}}',
        b'{"type":"result","taskId":"1","jobStatus":"done"}',
    ],
)
async def test_what_is_no_result_is_a_dead_letter(scene, body):
    run = scene.run(lease())
    job = await pushed(scene)
    assert scene.bus.send(body, "thumb_results")
    answer(scene, job)
    await run.ended()
    letter = await scene.bus.get(f"{RESULTS}.dead")
    assert (letter.body, letter.headers["x-original-key"]) == (body, "thumb_results")
    assert letter.headers["x-reason"]
    await turns()
    assert scene.settled(RESULTS) == ["accepted", "accepted"]
    assert scene.counted == {"a result that cannot be used": 1, "dead letters": 1}


async def test_results_of_jobs_that_nobody_pushed_are_ignored(scene):
    answer(scene, Job(id=encode_id(5), task_id="t", create_time="", status="new", attempt=1))
    answer(scene, Job(id="not one of our ids", task_id="t", create_time="", status="new"))
    await idle(scene)
    assert (scene.counted, scene.settled(RESULTS)) == ({UNKNOWN: 2}, ["accepted", "accepted"])


# Restarts


async def test_a_restart_goes_on_waiting_for_what_was_pushed(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    await turns()
    assert scene.runner._waiting.waits(run.name)
    answer(scene, job, data=1)
    assert (await run.ended()).result == b"1"
    assert scene.bus.size("thumb_jobs") == 0


async def test_a_result_that_comes_before_anybody_waits_again_is_kept(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    answer(scene, job, data=1)
    await scene.begin(runner_of(scene))
    await idle(scene)
    assert scene.settled(RESULTS) == ["accepted"]
    await scene.kill()
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    assert (await run.ended()).result == b"1"
    assert (scene.bus.size("thumb_jobs"), record(scene, run)) == (0, None)


async def test_a_failure_that_was_kept_is_counted_once(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    answer(scene, job, "fail", "it broke")
    await scene.begin(runner_of(scene))
    await idle(scene)
    run = scene.run(again(run))
    assert (await run.outcome()).message == "it broke"
    await scene.kill(run)  # the failure was not reported
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    assert (await run.ended()).message == "it broke"
    run = scene.run(again(run, attempt=2))
    assert (await pushed(scene)).attempt == 2


async def test_a_kill_before_the_report_loses_no_result(scene):
    run = scene.run(lease())
    answer(scene, await pushed(scene), data=1)
    await run.outcome()
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    assert (await run.ended()).result == b"1"
    assert scene.bus.size("thumb_jobs") == 0


async def test_a_kill_before_the_record_is_on_disk_pushes_the_same_attempt_again(scene):
    run = scene.run(lease())
    first = await pushed(scene)
    await scene.kill(run)
    scene.drawers.records.clear()
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    second = await pushed(scene)
    assert (first.id, first.attempt) == (second.id, second.attempt)


async def test_a_lease_that_ended_while_nothing_ran_is_over(scene):
    run = scene.run(lease())
    await pushed(scene)
    await scene.kill(run)
    scene.clock.advance(61)
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    assert (await run.ended()).kind is OutcomeKind.TIMED_OUT


async def test_a_clock_that_was_set_back_holds_nothing_for_long(scene):
    run = scene.run(lease())
    await pushed(scene)
    await scene.kill(run)
    scene.clock.jump(-86400)
    await scene.begin(runner_of(scene))
    run = scene.run(again(run))
    await turns()
    assert scene.runner._waiting.waits(run.name)
    scene.clock.advance(61)
    assert (await run.ended()).kind is OutcomeKind.TIMED_OUT


async def test_an_attempt_that_is_killed_gives_its_result_back(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    answer(scene, job, data=1)
    await asyncio.sleep(0)  # the result is there, and the run has not seen it
    run.task.cancel()
    await asyncio.wait((run.task,))
    await idle(scene)
    run = scene.run(again(run))
    assert (await run.ended()).result == b"1"


async def test_large_results_that_are_kept_rest_among_the_artifacts(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    answer(scene, job, data="x" * 100_000)
    await scene.begin(runner_of(scene))
    await idle(scene)
    kept = record(scene, run)
    assert len(kept.value) < 1000
    assert kept.digest in scene.artifacts.contents
    assert isinstance((await scene.run(again(run)).ended()).result, ArtifactRef)


async def test_nothing_is_accepted_that_cannot_be_kept(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    scene.drawers.error = StoreFull("no space")
    answer(scene, job, data=1)
    await turns()
    with pytest.raises(StoreFull):
        await scene.runner._waiting.keep_strays()
    assert scene.settled(RESULTS) == []
    scene.drawers.error = None
    await idle(scene)
    assert scene.settled(RESULTS) == ["accepted"]
    assert (await scene.run(again(run)).ended()).result == b"1"


async def test_a_result_that_is_just_being_kept_reaches_whoever_begins_to_wait(scene):
    run = scene.run(lease())
    job = await pushed(scene)
    await scene.kill(run)
    await scene.begin(runner_of(scene))
    answer(scene, job, data=1)
    runs: list[Run] = []
    for moment in range(12):
        await asyncio.sleep(0)
        if moment == 3:
            runs.append(scene.run(again(run)))
    assert (await runs[0].ended()).result == b"1"
    assert scene.bus.size("thumb_jobs") == 0


async def test_a_thousand_jobs_at_once(scene):
    runs = [scene.run(lease()) for _ in range(1000)]
    by_name = {run.name: run for run in runs}
    for _ in runs:
        job = await pushed(scene)
        assert by_name.pop(job.id)
        answer(scene, job, data=job.id)
    for run in runs:
        assert await run.outcome() == Outcome(kind=OutcomeKind.SUCCEEDED, result=b'"%s"' % run.name.encode())
        run.report()  # the prefetch limits how many results are under way
    assert scene.drawers.records == {}


# Words


def test_kinds_take_objects_and_resume():
    kind = backend_kind("thumb", attempts=5)
    assert (kind.runner, kind.policy.attempts, kind.resumes) == ("jsonbus", 5, True)
    for payload in (b"[]", b"1", b"", b'{"a":', b"\xff"):
        with pytest.raises(CrossdockError):
            kind.check(payload)
    kind.check(b' {"a": [1, 1e999]}')


def test_the_data_of_a_payload():
    assert data_of(b'{"a": "data"}') is None
    assert data_of(b'{"data": {"x": 1}}') == b'{"x": 1}'


def test_reasons_are_short():
    assert len(reason_in(b'"%s"' % (b"x" * 10_000))) == 2000
    assert reason_in(b"1e999") == "1e999"
