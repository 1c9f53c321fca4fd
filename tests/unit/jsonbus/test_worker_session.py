"""What a worker holds, as a transcript: deliveries in, leases and settlements out. No broker."""

import json
from collections.abc import Mapping

import pytest

from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.jsonbus.worker_address import WorkerAddress, parse_connect
from crossdock.protocols.jsonbus.worker_session import WorkerSession

ADDRESS = parse_connect("jsonbus+amqp://host/?node=n&ack_after=900")
DONE = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")
RELEASED = Outcome(kind=OutcomeKind.RELEASED)


class Told:
    """A delivery that writes down how it is settled."""

    def __init__(self, script: list[str], name: str, body: bytes) -> None:
        self.body = body
        self.key = "n_jobs"
        self.redelivered = False
        self.headers: Mapping[str, object] = {}
        self.id = self.correlation = self.reply_to = ""
        self._script = script
        self._name = name

    def accept(self) -> None:
        self._script.append(f"{self._name} accepted")

    def reject(self, *, requeue: bool) -> None:
        self._script.append(f"{self._name} {'requeued' if requeue else 'dead'}")


class Scene:
    def __init__(self, address: WorkerAddress = ADDRESS, kinds: tuple[str, ...] = ("work",)) -> None:
        self.script: list[str] = []
        self.session = WorkerSession(address, kinds)

    def comes(self, name: str, job: str = "j", attempt: int | None = None, now: float = 0.0, **members: object) -> None:
        text: dict[str, object] = {"type": "job", "id": job, "taskId": "t", "createTime": "", "status": "new", **members}
        if attempt is not None:
            text["attempt"] = attempt
        self.raw(name, json.dumps(text).encode(), now)

    def raw(self, name: str, body: bytes, now: float = 0.0, *, foreign: bool = False) -> None:
        self.session.receive(Told(self.script, name, body), now, foreign=foreign)

    def claims(self, limit: int = 10) -> list[int]:
        return [lease.token for lease in self.session.next_leases(limit)]

    def ends(self, token: int, outcome: Outcome = DONE, *, confirmed: bool = True) -> object:
        result = self.session.answer(token, outcome)
        if result is not None and confirmed:
            self.session.settled(token)
        return None if result is None else result.job.status


def test_a_job_is_acknowledged_once_its_result_is_confirmed():
    scene = Scene()
    scene.comes("first")
    (token,) = scene.claims()
    assert scene.ends(token, confirmed=False) == "success"
    assert scene.script == []
    assert scene.session.alive((token,)) == (token,)
    assert scene.ends(token) == "success"
    assert scene.script == ["first accepted"]
    assert scene.session.alive((token,)) == ()


def test_a_lease_has_what_the_job_says():
    scene = Scene()
    scene.comes("first", attempt=4, params={"a": 1})
    (lease,) = scene.session.next_leases(1)
    assert (lease.kind, lease.payload, lease.attempt) == ("work", b'{"a": 1}', 4)


def test_jobs_are_claimed_in_order_and_once():
    scene = Scene()
    for name in "abc":
        scene.comes(name, job=name)
    assert scene.claims(2) == [1, 2]
    assert scene.session.waiting
    assert scene.claims(2) == [3]
    assert scene.claims(2) == []
    assert not scene.session.waiting


def test_a_job_delivered_again_while_it_runs_runs_once_and_its_new_delivery_counts():
    scene = Scene()
    scene.comes("before", attempt=1)
    (token,) = scene.claims()
    scene.comes("after", attempt=1)
    assert scene.claims() == []
    scene.script.clear()  # the old delivery went with its connection
    scene.ends(token)
    assert scene.script == ["after accepted"]


def test_an_impatient_node_that_counts_no_attempts_pushes_a_job_that_runs():
    scene = Scene()
    scene.comes("first")
    scene.claims()
    scene.comes("second")
    assert scene.claims() == []
    assert scene.script == ["first accepted"]


def test_an_attempt_that_has_ended_is_not_run_again_if_its_acknowledgement_was_lost():
    scene = Scene()
    scene.comes("first", attempt=1)
    scene.ends(scene.claims()[0])
    scene.comes("again", attempt=1)
    assert scene.claims() == []
    assert scene.script == ["first accepted", "again accepted"]


def test_a_job_without_attempts_that_comes_again_after_its_end_runs_again():
    scene = Scene()
    scene.comes("first")
    scene.ends(scene.claims()[0])
    scene.comes("pushed again")
    assert len(scene.claims()) == 1


def test_a_newer_attempt_ends_the_older_one():
    scene = Scene()
    scene.comes("old", attempt=1)
    (old,) = scene.claims()
    scene.comes("new", attempt=2)
    (new,) = scene.claims()
    assert scene.session.alive((old, new)) == (new,)
    assert scene.script == ["old accepted"]
    assert scene.ends(old) is None
    assert scene.ends(new) == "success"
    assert scene.script == ["old accepted", "new accepted"]


def test_an_older_attempt_that_comes_late_is_nothing_to_do():
    scene = Scene()
    scene.comes("new", attempt=2)
    scene.comes("old", attempt=1)
    assert len(scene.claims()) == 1
    assert scene.script == ["old accepted"]


def test_a_released_job_goes_back_to_the_queue_and_is_not_answered():
    scene = Scene()
    scene.comes("first", attempt=1)
    (token,) = scene.claims()
    assert scene.ends(token, RELEASED) is None
    assert scene.script == ["first requeued"]
    scene.comes("again", attempt=1)
    assert len(scene.claims()) == 1


def test_a_long_job_is_acknowledged_while_it_runs_and_takes_a_slot_without_a_delivery():
    scene = Scene()
    scene.comes("long", job="a", now=0.0)
    scene.comes("late", job="b", now=800.0)
    long, _ = scene.claims()
    scene.session.expire(899.0)
    assert scene.script == []
    scene.session.expire(900.0)
    scene.session.expire(901.0)
    assert scene.script == ["long accepted"]
    assert scene.session.acknowledged == 1
    assert scene.ends(long) == "success"
    assert scene.script == ["long accepted"]
    assert scene.session.acknowledged == 0


def test_a_long_job_cannot_go_back_to_the_queue_so_it_has_failed():
    scene = Scene()
    scene.comes("long", attempt=1)
    (token,) = scene.claims()
    scene.session.expire(1000.0)
    assert scene.ends(token, RELEASED) == "fail"


def test_a_long_job_that_comes_again_all_the_same_runs_on():
    scene = Scene()
    scene.comes("long", attempt=1)
    (token,) = scene.claims()
    scene.session.expire(1000.0)
    scene.comes("again", attempt=1)
    assert scene.session.alive((token,)) == (token,)
    assert scene.script == ["long accepted", "again accepted"]


def test_a_job_that_nobody_claims_for_long_is_given_to_another_worker():
    scene = Scene()
    scene.comes("first")
    scene.session.expire(900.0)
    assert scene.script == ["first requeued"]
    assert scene.claims() == []


def test_a_job_of_a_foreign_queue_does_not_wait_that_long():
    scene = Scene()
    scene.raw("foreign", b'{"type":"job","id":"a","taskId":"t","createTime":"","status":"new"}', foreign=True)
    scene.session.expire(9.0)
    assert scene.script == []
    scene.session.expire(10.0)
    assert scene.script == ["foreign requeued"]


def test_a_job_of_a_foreign_queue_that_runs_is_not_given_back():
    scene = Scene()
    scene.raw("foreign", b'{"type":"job","id":"a","taskId":"t","createTime":"","status":"new"}', foreign=True)
    scene.claims()
    scene.session.expire(10.0)
    assert scene.script == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[" * 600,
        b'{"type":"job","id":1}',
        b'{"type":"request","id":"r","clientId":"c","subject":"s"}',
        b'{"type":"result","taskId":"t","jobStatus":"done"}',
    ],
)
def test_a_message_that_is_no_job_is_dead(body: bytes):
    scene = Scene()
    scene.raw("poison", body)
    scene.comes("sound")
    assert scene.script == ["poison dead"]
    assert len(scene.claims()) == 1


def test_a_job_of_an_unknown_kind_is_answered_with_what_this_worker_has():
    scene = Scene(kinds=("work", "other"))
    scene.comes("first", subject="unheard")
    (token,) = scene.claims()
    result = scene.session.answer(token, DONE)
    assert result is not None
    assert result.job.status == "fail"
    assert json.loads(result.data or b"")["message"] == "this worker has no kind 'unheard'; it has other, work"


def test_a_job_that_does_not_say_its_kind_is_answered_with_what_to_do():
    scene = Scene(kinds=("work", "other"))
    scene.comes("first")
    (lease,) = scene.session.next_leases(1)
    assert lease.kind == ""
    result = scene.session.answer(lease.token, DONE)
    assert result is not None
    assert "its member 'subject' has to be one of other, work" in json.loads(result.data or b"")["message"]


def test_a_drained_worker_gives_back_what_waits_and_goes_on_with_what_runs():
    scene = Scene()
    scene.comes("running", job="a")
    (token,) = scene.claims()
    scene.comes("waiting", job="b")
    scene.session.pause()
    assert scene.script == ["waiting requeued"]
    scene.comes("late", job="c")
    assert scene.script == ["waiting requeued", "late requeued"]
    assert scene.ends(token) == "success"
    assert scene.script[2:] == ["running accepted"]


def test_a_worker_that_leaves_gives_everything_back():
    scene = Scene()
    scene.comes("running", job="a")
    (token,) = scene.claims()
    scene.comes("waiting", job="b")
    scene.session.leave()
    assert scene.script == ["running requeued", "waiting requeued"]
    assert scene.session.alive((token,)) == ()


def test_tasks_are_jobs_too():
    scene = Scene()
    scene.raw("task", b'{"type":"task","id":"t","requestId":"r","createTime":"","status":"active"}')
    assert len(scene.claims()) == 1
