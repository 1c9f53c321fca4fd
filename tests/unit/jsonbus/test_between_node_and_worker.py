"""What our backend sends and our worker understands, and what the worker says and the backend makes of it."""

import pytest

from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.jsonbus.backend_jobs import Assignment, answer_of, assignment_letter
from crossdock.protocols.jsonbus.codec import decode, encode
from crossdock.protocols.jsonbus.messages import Job, Result
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.worker_jobs import job_of, result_of, work_of

WORK = Assignment(name="j1", task="t1", number=2, payload=b'{"width":1.50,"data":[1]}', kind="render")
KINDS = ("ocr", "render")


def received(*, foreign: bool, message: str) -> Job:
    options = BackendOptions(name="fast", jobs_key="fast_jobs", results_key="fast_results", foreign=foreign, message=message)
    return job_of(decode(assignment_letter(WORK, options, 0.0).body))


@pytest.mark.parametrize("message", ["job", "task"])
@pytest.mark.parametrize("foreign", [True, False])
def test_a_worker_of_several_kinds_is_told_which_it_is(foreign, message):
    job = received(foreign=foreign, message=message)
    work = work_of(job, KINDS)
    assert (job.id, job.attempt, work.kind) == ("j1", 2, "render")
    assert work.payload == WORK.payload


@pytest.mark.parametrize("message", ["job", "task"])
def test_a_result_comes_back_with_the_attempt_it_is_about(message):
    job = received(foreign=False, message=message)
    result = decode(encode(result_of(job, Outcome(kind=OutcomeKind.SUCCEEDED, result=b'{"size":1e3}'))))
    assert isinstance(result, Result)
    assert (result.job.id, result.job.attempt, result.job.status) == ("j1", 2, "success")
    answer = answer_of(result, lists=False)
    assert (answer.good, answer.data) == (True, b'{"size":1e3}')


@pytest.mark.parametrize(
    ("kind", "final"), [(OutcomeKind.FAILED, True), (OutcomeKind.ERRORED, False), (OutcomeKind.TIMED_OUT, False)]
)
def test_a_failure_says_whether_another_attempt_may_mend_it(kind, final):
    outcome = Outcome(kind=kind, code="no_space", message="the disk is full")
    answer = answer_of(result_of(received(foreign=False, message="job"), outcome), lists=False)
    assert (answer.good, answer.final, answer.code, answer.message) == (False, final, "no_space", "the disk is full")


@pytest.mark.parametrize(
    "data", [None, b"null", b'"out of paper"', b'{"error":"out of paper"}', b'{"code":"x","message":"y"}']
)
def test_a_failure_of_a_foreign_worker_may_be_mended(data):
    job = Job(id="j1", task_id="t1", create_time="", status="fail", attempt=2)
    answer = answer_of(Result(job=job, data=data), lists=False)
    assert (answer.good, answer.final, answer.code) == (False, False, "job_failed")
    assert answer.message
