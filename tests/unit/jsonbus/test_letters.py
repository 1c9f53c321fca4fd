"""Letters: which ids, headers and properties go with a message."""

from uuid import UUID

import pytest

from crossdock.core.errors import CrossdockError
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.frames import publishing
from crossdock.protocols.jsonbus.letters import ATTEMPT, REASON, attempt_of, letter
from crossdock.protocols.jsonbus.messages import Job, Notification, Request, Result, Task
from crossdock.protocols.jsonbus.topology import JOBS

REQUEST = Request(id="r1", client_id="c1", subject="thumbnail")
TASK = Task(id="t1", request_id="r1", create_time="", status="active")
JOB = Job(id="j1", task_id="t1", create_time="", status="new", attempt=2)
NOTIFICATION = Notification(request_id="r1", status="success", message="done", data=b"1")
RESULT = Result(job=Job(id="j1", task_id="t1", create_time="", status="success", attempt=2), data=b"1")
ALL = [REQUEST, TASK, JOB, NOTIFICATION, RESULT]


@pytest.mark.parametrize(
    ("message", "kind", "correlation"),
    [
        (REQUEST, "request", "r1"),
        (TASK, "task", "r1"),
        (JOB, "job", "t1"),
        (NOTIFICATION, "notification", "r1"),
        (RESULT, "result", "t1"),
    ],
)
def test_what_goes_with_a_message(message, kind, correlation):
    made = letter(message, "somewhere")
    assert (made.kind, made.correlation, made.key, made.exchange) == (kind, correlation, "somewhere", "jsonbus")
    assert decode(made.body) == message
    assert str(UUID(made.id)) == made.id


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_the_same_message_has_the_same_id_and_other_messages_others(message):
    assert letter(message, "k").id == letter(message, "k", headers={"x": 1}).id
    ids = {letter(other, "k").id for other in ALL} | {letter(message, "l").id}
    assert len(ids) == len(ALL) + 1


def test_an_answer_that_is_given_again_is_the_same_though_its_text_differs():
    again = Notification(request_id="r1", status="success", message="done", data=b'{"resultRef":"http://h/2","size":9}')
    assert letter(again, "c1_notify").id == letter(NOTIFICATION, "c1_notify").id
    failed = Notification(request_id="r1", status="fail", message="no")
    assert letter(failed, "c1_notify").id != letter(NOTIFICATION, "c1_notify").id


def test_every_attempt_of_a_job_is_another_message():
    ids = {letter(Job(id="j1", task_id="t1", create_time="", status="new", attempt=n), "k").id for n in (None, 1, 2)}
    assert len(ids) == 3


@pytest.mark.parametrize("own", ["mine", "00000000-0000-0000-0000-000000000000"])
def test_the_callers_id_is_taken(own):
    assert letter(REQUEST, "k", id=own).id == own


@pytest.mark.parametrize("message", [JOB, RESULT])
def test_jobs_and_results_name_their_attempt(message):
    assert letter(message, "k", headers={"a": "b"}).headers == {"a": "b", ATTEMPT: 2}
    assert letter(message, "k", headers={ATTEMPT: 7}).headers == {ATTEMPT: 7}


@pytest.mark.parametrize("attempt", ["-7", "9223372036854775807", "9223372036854775808", "1" + "0" * 400])
def test_a_job_with_any_attempt_can_be_answered(attempt):
    job = decode(b'{"type":"job","id":"j","taskId":"t","createTime":"","status":"new","attempt":%b}' % attempt.encode())
    assert isinstance(job, Job)
    answer = letter(Result(job=job, data=b"1"), "k")
    assert publishing(answer, 1, 4096, 0.0)
    assert b'"attempt":%b' % attempt.encode() in answer.body


def test_other_messages_have_the_callers_headers_only():
    assert letter(REQUEST, "k", headers={REASON: "why"}).headers == {"x-reason": "why"}
    assert letter(Job(id="j1", task_id="t1", create_time="", status="new"), "k").headers == {}


def test_another_exchange():
    assert letter(JOB, "k", exchange=JOBS).exchange == "svc.jobs"


@pytest.mark.parametrize(
    ("long", "correlation"),
    [("x" * 255, "x" * 255), ("x" * 256, ""), ("\u00e9" * 127, "\u00e9" * 127), ("\u00e9" * 128, ""), ("", "")],
)
def test_an_id_too_long_for_a_property_is_left_to_the_body(long, correlation):
    made = letter(Notification(request_id=long, status="fail", message=""), "k")
    assert made.correlation == correlation
    assert decode(made.body) == Notification(request_id=long, status="fail", message="")


def test_what_cannot_be_written_is_said():
    with pytest.raises(CrossdockError, match="cannot be sent over json-bus"):
        letter(Notification(request_id="\ud800", status="fail", message=""), "k")


@pytest.mark.parametrize(
    ("headers", "attempt"),
    [({}, None), ({ATTEMPT: 3}, 3), ({ATTEMPT: "3"}, None), ({ATTEMPT: True}, None), ({ATTEMPT: None}, None)],
)
def test_the_attempt_in_headers(headers, attempt):
    assert attempt_of(headers) == attempt
