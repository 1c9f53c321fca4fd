"""What a worker makes of jobs, and of how they ended."""

import json

import pytest

from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.jsonbus.codec import decode, encode
from crossdock.protocols.jsonbus.messages import Job, Notification, Task
from crossdock.protocols.jsonbus.worker_jobs import Work, job_of, number_of, result_of, work_of

KINDS = ("resize", "crop")


def job(**members: object) -> Job:
    text = {"type": "job", "id": "j1", "taskId": "t1", "createTime": "now", "status": "new", **members}
    message = decode(json.dumps(text).encode())
    assert isinstance(message, Job), message
    return message


def work(given: Job, kinds: tuple[str, ...] = KINDS, fixed: str = "", lists: bool = False) -> tuple[str, object]:
    found = work_of(given, kinds, fixed, lists=lists)
    return found.kind, json.loads(found.payload)


def test_the_address_says_the_kind_before_all_others():
    assert work(job(subject="crop", params={"w": 1}), fixed="resize") == ("resize", {"w": 1})


def test_the_job_says_the_kind():
    assert work(job(subject="crop", params={"subject": "resize"})) == ("crop", {"subject": "resize"})


def test_the_only_kind_there_is():
    assert work(job(params={"subject": "a letter"}), kinds=("crop",)) == ("crop", {"subject": "a letter"})


def test_a_parameter_names_the_kind_and_is_none_of_its_own():
    assert work(job(params={"subject": "crop", "w": 1})) == ("crop", {"w": 1})


@pytest.mark.parametrize(
    "members",
    [{}, {"params": {}}, {"params": [1]}, {"params": {"subject": "unknown"}}, {"params": {"subject": 1}}, {"subject": None}],
)
def test_a_kind_that_is_not_said(members: dict[str, object]):
    with pytest.raises(CrossdockError, match="'subject' has to be one of crop, resize"):
        work(job(**members))


def test_data_are_a_member_of_the_payload():
    assert work(job(subject="crop", data=[1, 2])) == ("crop", {"data": [1, 2]})
    assert work(job(subject="crop", params={"w": 1}, data="text")) == ("crop", {"w": 1, "data": "text"})


def test_numbers_come_through_digit_by_digit():
    text = b'{"type":"job","id":"j","taskId":"t","createTime":"","status":"new","params":{"n":12345678901234567890.10}}'
    message = decode(text)
    assert isinstance(message, Job)
    assert work_of(message, ("one",)) == Work("one", b'{"n":12345678901234567890.10}')


def test_lists_that_php_made_objects_of():
    given = job(subject="crop", params={"sizes": {"0": 3, "1": 4}}, data={"0": "a"})
    assert work(given) == ("crop", {"sizes": {"0": 3, "1": 4}, "data": {"0": "a"}})
    assert work(given, lists=True) == ("crop", {"sizes": [3, 4], "data": ["a"]})


def test_a_task_is_a_task_with_one_job():
    text = b'{"id":"t1","requestId":"r","createTime":"x","status":"active","attempt":2,"a":1,"params":{},"type":"task"}'
    task = decode(text)
    assert isinstance(task, Task)
    assert job_of(task) == Job(
        id="t1", task_id="t1", create_time="x", status="new", params=b"{}", attempt=2, extra={"a": b"1"}
    )


def test_what_is_no_job_is_refused_with_a_reason():
    with pytest.raises(CrossdockError, match="a Notification has no place in a jobs queue"):
        job_of(Notification(request_id="r", status="success", message=""))
    with pytest.raises(CrossdockError, match="it is no JSON text"):
        job_of(decode(b"nonsense"))


def test_a_success_is_the_job_with_its_result():
    given = job(subject="crop", params={"w": 1}, attempt=3, priority={"php": True})
    wire = json.loads(encode(result_of(given, Outcome(kind=OutcomeKind.SUCCEEDED, result=b"[1]"))))
    assert wire == {
        "type": "result",
        "job": {
            "type": "job",
            "id": "j1",
            "taskId": "t1",
            "createTime": "now",
            "status": "success",
            "attempt": 3,
            "params": {"w": 1},
            "subject": "crop",
            "priority": {"php": True},
        },
        "data": [1],
    }


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (
            Outcome(kind=OutcomeKind.FAILED, code="no_image", message="it is no image"),
            {"code": "no_image", "message": "it is no image", "outcome": "failed"},
        ),
        (
            Outcome(kind=OutcomeKind.ERRORED, code="retry", message="", retry_after=2.5),
            {"code": "retry", "message": "retry", "outcome": "errored", "retryAfter": 2.5},
        ),
        (Outcome(kind=OutcomeKind.TIMED_OUT), {"code": "", "message": "the job failed", "outcome": "timed_out"}),
    ],
)
def test_a_failure_says_what_and_whether_trying_again_helps(outcome: Outcome, data: object):
    wire = json.loads(encode(result_of(job(data=[1]), outcome)))
    assert wire["job"]["status"] == "fail"
    assert wire["job"]["data"] == [1]
    assert wire["data"] == data


def test_a_result_that_was_too_large_leaves_out_what_came_with_the_job():
    wire = json.loads(encode(result_of(job(params={}, data=[1]), Outcome(kind=OutcomeKind.FAILED, code="too_large"))))
    assert wire["job"].keys() == {"type", "id", "taskId", "createTime", "status"}


def test_the_number_of_a_job():
    assert number_of(job(id=encode_id(12345))) == 12345
    number = number_of(job(id="any text ü"))
    assert number == number_of(job(id="any text ü"))
    assert 0 <= number < 1 << 63
    assert number != number_of(job(id="another"))
