"""What a node makes of a message, without a bus."""

import json

import pytest

from crossdock.core.jobs import Job as CoreJob
from crossdock.core.jobs import OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.protocols.jsonbus.asker import Asker, read_asker
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.frontend_session import Burial, Known, Offer, Refusal, Step, decide, is_accident, judge
from crossdock.protocols.jsonbus.hops import LIMIT
from jsonbus_node import request

NONE: frozenset[str] = frozenset()


def judged(body: bytes, reply_to: str = "", hops: int = 0, lists: frozenset[str] = NONE):
    return judge(decode(body), reply_to, hops, lists)


def offer(**members) -> Offer:
    found = judged(request(**members))
    assert isinstance(found, Offer), found
    return found


def test_a_request_becomes_an_offer_of_a_job_named_by_its_subject():
    found = offer(params={"n": 1}, data=[2])
    assert (found.kind, json.loads(found.payload), found.asker) == ("work", {"n": 1, "data": [2]}, Asker("c", "r1"))
    assert not found.shared


def test_the_order_of_members_is_no_difference_and_everything_else_is():
    first = offer(params={"a": 1, "b": 2})
    assert offer(params={"b": 2, "a": 1}).content == first.content
    others = [
        offer(params={"a": 1, "b": 3}),
        offer(params={"a": 1, "b": 2}, data=1),
        offer(subject="x", params={"a": 1, "b": 2}),
    ]
    assert first.content not in {other.content for other in others}


def test_lists_are_repaired_for_subjects_that_want_it():
    body = request(params={"names": {"0": "a", "1": "b"}}, data={"0": 1})
    assert json.loads(judged(body).payload) == {"names": {"0": "a", "1": "b"}, "data": {"0": 1}}
    assert json.loads(judged(body, lists=frozenset({"work"})).payload) == {"names": ["a", "b"], "data": [1]}


def test_a_cache_key_is_for_us_and_not_for_the_job():
    found = offer(params={"n": 1, "cacheKey": "k"})
    assert found.shared
    assert json.loads(found.payload) == {"n": 1}
    assert found.content != offer(params={"n": 1, "cacheKey": "other"}).content


@pytest.mark.parametrize("value", [1, None, ["k"], ""])
def test_a_cache_key_that_is_no_text_shares_nothing(value):
    assert not offer(params={"cacheKey": value}).shared


def test_answers_go_to_the_client_s_queue_or_to_the_one_it_names():
    assert offer().asker.route == ("jsonbus", "c_notify")
    found = judged(request(client="no queue name!"), reply_to="amq.gen-1")
    assert found.asker.route == ("", "amq.gen-1")
    assert read_asker(found.asker.text) == found.asker


@pytest.mark.parametrize(
    ("client", "reply_to"), [("", ""), ("no name", ""), ("c" * 201, ""), ("c", "svc.crossdock.requests"), ("ü", "")]
)
def test_whoever_cannot_be_answered_sent_a_dead_letter(client, reply_to):
    found = judged(request(client=client), reply_to=reply_to)
    assert isinstance(found, Burial)
    assert "nobody can be answered" in found.reason


@pytest.mark.parametrize("kind", ["task", "job", "notification", "result"])
def test_only_requests_are_taken(kind):
    job = {"id": "1", "taskId": "1", "createTime": "", "status": "new"}
    bodies = {
        "task": {"id": "1", "requestId": "1", "createTime": "", "status": "wait"},
        "job": job,
        "notification": {"requestId": "1", "status": "fail", "message": ""},
        "result": {"job": job},
    }
    found = judged(json.dumps({"type": kind, **bodies[kind]}).encode())
    assert found == Burial(f"this is a {kind}; only requests are taken here")


def test_a_malformed_request_is_answered_if_its_sender_is_known():
    body = json.dumps({"type": "request", "id": "r1", "clientId": "c"}).encode()
    found = judged(body)
    assert isinstance(found, Refusal)
    assert found.asker == Asker("c", "r1")
    assert not found.sound
    assert "subject" in found.reason


def test_reply_to_stands_in_for_a_missing_client():
    body = json.dumps({"type": "request", "id": "r1", "subject": 7}).encode()
    assert judged(body, reply_to="q").asker == Asker("", "r1", "q")
    assert isinstance(judged(body), Burial)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'"request"', b"null"])
def test_what_nobody_can_be_told_of_is_a_dead_letter(body):
    assert isinstance(judged(body, reply_to="q"), Burial)


def test_a_malformed_request_whose_client_has_no_possible_queue_is_a_dead_letter():
    assert isinstance(judged(json.dumps({"type": "request", "id": "r", "clientId": "?"}).encode()), Burial)


def test_an_empty_id_is_answered_and_an_endless_one_is_not():
    found = judged(request(id=""))
    assert isinstance(found, Refusal)
    assert not found.sound
    assert isinstance(judged(request(id="x" * 4096)), Offer)
    assert isinstance(judged(request(id="x" * 4097)), Burial)
    assert isinstance(judged(request(id="x" * 4097, subject=7)), Burial)


def test_a_request_that_passed_too_many_nodes_is_refused():
    assert isinstance(judged(request(), hops=LIMIT), Offer)
    found = judged(request(), hops=LIMIT + 1)
    assert isinstance(found, Refusal)
    assert (found.code, found.sound) == ("circle", True)


# What is known


def ended(state=State.SUCCEEDED, **members) -> CoreJob:
    return CoreJob(id=1, kind="work", payload=b"{}", created=0.0, state=state, **members)


@pytest.mark.parametrize(
    ("state", "accident", "step"),
    [
        (State.WAITING, False, Step.WAIT),
        (State.READY, False, Step.WAIT),
        (State.LEASED, False, Step.WAIT),
        (State.SUCCEEDED, False, Step.REPEAT),
        (State.FAILED, False, Step.REPEAT),
        (State.CANCELLED, False, Step.REPEAT),
        (State.FAILED, True, Step.RUN),
    ],
)
def test_what_is_done_about_a_known_request_depends_on_its_job(state, accident, step):
    known = Known(1, offer().content, "a")
    assert decide(known, ended(state), offer(), accident=accident) is step
    assert decide(known, ended(state), offer(params={"n": 1}), accident=accident) is Step.CONFLICT


@pytest.mark.parametrize(
    ("outcome", "code", "accident"),
    [
        (OutcomeKind.FAILED, "wrong", False),
        (OutcomeKind.ERRORED, "boom", True),
        (OutcomeKind.LOST, "lost", True),
        (OutcomeKind.TIMED_OUT, "timeout", True),
        (OutcomeKind.FAILED, "queue_timeout", True),
        (OutcomeKind.FAILED, "unroutable", True),
        (OutcomeKind.FAILED, "need_failed", None),
        (OutcomeKind.FAILED, "dependency_failed", None),
    ],
)
def test_accidents_are_told_from_failures(outcome, code, accident):
    assert is_accident(ended(State.FAILED, outcome=outcome, code=code)) is accident


def test_only_failures_are_accidents():
    assert is_accident(ended(State.CANCELLED, outcome=OutcomeKind.CANCELLED)) is False
    assert is_accident(ended(State.SUCCEEDED, outcome=OutcomeKind.SUCCEEDED)) is False
