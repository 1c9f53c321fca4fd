"""The worker's session against an ordinary broker, as transcripts."""

import msgspec
import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.requests import Note
from crossdock.protocols.recodex.messages import Intro, Pong
from crossdock.protocols.recodex.worker_session import Standing
from unit.recodex.worker_stage import BROKEN, GOOD, WRONG, Stage, evaluate

INIT = "init|group1||description=a worker"


def test_it_introduces_itself_as_the_original_worker_does_and_pings_at_once():
    stage = Stage(values={"threads": ("2",), "env": ("python3", "c")})
    assert stage.at(0.0) == [
        "0 (dial)",
        "0 init|group1|env=c|env=python3|threads=2||description=a worker",
        "0 ping",
    ]


def test_the_extension_is_announced_behind_everything_else():
    stage = Stage("evaluation", "add")
    stage.session.tick(0.0)
    init = stage.session.effects[1].frames
    name, _, value = init[-1].partition(b"=")
    assert name == b"crossdock"
    assert msgspec.json.decode(value) == {"worker": "w", "slots": 4, "kinds": ["evaluation", "add"]}
    assert not any(b"kind=" in frame for frame in init[:-1]), "to others a kind would be a header that matches nothing"


@pytest.mark.parametrize("count", ["four", "4x", "-1", "", " 4", "4.0"])
def test_a_number_of_threads_that_would_end_the_original_broker_is_refused(count):
    with pytest.raises(CrossdockError) as caught:
        Stage(values={"threads": (count,)})
    assert caught.value.code is Code.INVALID


def test_pings_go_out_every_second():
    stage = Stage().plain()
    lines = []
    for second in range(1, 11):
        lines += stage.at(float(second))
        stage.hear(Pong())
    assert lines == [f"{second} ping" for second in range(1, 11)]


def test_a_silent_broker_is_tried_again_over_new_connections_after_growing_pauses():
    stage = Stage()
    lines = [line for line in stage.at(180.0) if "(" in line]
    dials = [float(line.split()[0]) for line in lines if line.endswith("(dial)")]
    hangs = [float(line.split()[0]) for line in lines if line.endswith("(hang up)")]
    assert [hang - dial for dial, hang in zip(dials, hangs, strict=False)] == [4.0] * len(hangs)
    assert [dial - hang for hang, dial in zip(hangs, dials[1:], strict=False)] == [1, 2, 4, 8, 16, 32, 32, 32]


def test_every_message_is_a_sign_of_life_whatever_it_says():
    stage = Stage().plain()
    for second in range(1, 20):
        assert stage.at(second - 0.5) == ([f"{second - 1} ping"] if second > 1 else [])
        assert stage.hear([b"\x00\x6b\x8b\x45\x67", b"eval", b"id", b"a", b"r"]) == []
    assert stage.session.next_leases(1) == [], "what was glued to another worker's id is not ours"


def test_after_a_sign_of_life_pauses_are_short_again():
    stage = Stage()
    stage.at(33.0)  # the fourth connection was given up at 23, the fifth opened at 31
    assert stage.session.pulse.connected
    stage.hear(Pong())
    silent = [line for line in stage.at(44.0) if "(" in line]
    assert silent == ["37 (hang up)", "38 (dial)", "42 (hang up)", "44 (dial)"]


def test_after_a_long_sleep_of_our_own_one_ping_is_sent_and_not_a_connection_given_up():
    stage = Stage().plain()
    stage.session.tick(1000.0)
    assert stage.said() == ["ping"]
    assert stage.session.pulse.connected


def test_an_evaluation_from_eval_to_done():
    stage = Stage().plain()
    assert stage.hear(evaluate("j1")) == []
    lease = stage.lease()
    assert (lease.kind, lease.attempt) == ("evaluation", 1)
    payload = msgspec.json.decode(lease.payload)
    assert (payload["submission"], payload["result_url"], payload["job_id"]) == (
        "http://files/j1.zip",
        "http://files/j1.result",
        "j1",
    )
    assert stage.step(lease, "DOWNLOADED") == ["progress|j1|DOWNLOADED"]
    assert stage.step(lease, "TASK", "compile", "COMPLETED") == ["progress|j1|TASK|compile|COMPLETED"]
    stage.session.note(lease.token, Note(log="not for them"))
    assert stage.said() == []
    assert stage.end(lease) == ["progress|j1|FINISHED", "done|j1|OK|", "ping"], "progress comes before the end"
    assert not stage.session.end(lease.token, GOOD), "an end is said once"


def test_an_eval_before_the_first_pong_shows_an_ordinary_broker():
    stage = Stage()
    stage.at(0.0)
    stage.hear(evaluate("j1"))
    assert stage.session.standing is Standing.PLAIN
    assert stage.end(stage.lease())[1] == "done|j1|OK|"


@pytest.mark.parametrize(
    ("outcome", "lines"),
    [
        (WRONG, ["progress|j|FAILED", "progress|j|FINISHED", "done|j|FAILED|no config"]),
        (BROKEN, ["progress|j|ABORTED", "done|j|INTERNAL_ERROR|no upload"]),
        (Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout"), ["progress|j|ABORTED", "done|j|INTERNAL_ERROR|timeout"]),
        (Outcome(kind=OutcomeKind.LOST, message="x"), ["progress|j|ABORTED", "done|j|INTERNAL_ERROR|x"]),
        (Outcome(kind=OutcomeKind.RELEASED, message="x"), ["progress|j|ABORTED", "done|j|INTERNAL_ERROR|x"]),
        (Outcome(kind=OutcomeKind.CANCELLED, message="x"), ["progress|j|ABORTED", "done|j|INTERNAL_ERROR|x"]),
    ],
)
def test_how_other_ends_are_said(outcome, lines):
    stage = Stage().plain()
    stage.hear(evaluate("j"))
    assert stage.end(stage.lease(), outcome)[:-1] == lines


def test_words_that_the_runner_has_said_are_not_said_again():
    stage = Stage().plain()
    stage.hear(evaluate("j"))
    lease = stage.lease()
    stage.step(lease, "FINISHED")
    assert stage.end(lease) == ["done|j|OK|", "ping"]


def test_brokers_of_2016_are_told_ok_or_err():
    stage = Stage(old_done=True).plain()
    for outcome, line in ((GOOD, "done|j|OK"), (WRONG, "done|j|ERR"), (BROKEN, "done|j|ERR")):
        stage.hear(evaluate("j"))
        assert line in stage.end(stage.lease(), outcome)


def test_an_eval_that_comes_during_a_job_runs_next():
    stage = Stage().plain()
    stage.hear(evaluate("j1"), evaluate("j2"))
    first = stage.lease()
    assert stage.session.next_leases(3) == [], "an ordinary worker has one slot"
    stage.end(first)
    second = stage.lease()
    assert second.token != first.token
    assert stage.end(second)[1] == "done|j2|OK|"


@pytest.mark.parametrize("arguments", [[b"one"], [b"one", b"two", b"three"], [b"one", b"\xff"], []])
def test_a_malformed_eval_fails_instead_of_keeping_the_broker_waiting(arguments):
    stage = Stage().plain()
    failed, finished, done = stage.hear([b"eval", b"j\xff", *arguments])
    assert (failed, finished) == ("progress|j\\xff|FAILED", "progress|j\\xff|FINISHED")
    assert done.startswith("done|j\\xff|FAILED|the broker sent a malformed eval")
    stage.at(1.0)
    assert stage.hear(Intro()) == [INIT, "ping"], "it does not claim to run that job"
    assert stage.session.next_leases(1) == []


def test_an_eval_without_an_id_is_ignored():
    assert Stage().plain().hear([b"eval"]) == []


# Reconnections


def test_the_job_that_runs_is_named_when_the_broker_asks_who_we_are():
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    lease = stage.lease()
    stage.at(1.0)
    assert stage.hear(Intro()) == [f"{INIT}|current_job=j1", "ping"]
    assert stage.hear(Intro(), Intro()) == [], "these answer pings from before the init"
    assert stage.hear(Pong()) == []
    assert stage.session.evaluations.alive((lease.token, 99)) == (lease.token,)
    assert "done|j1|OK|" in stage.end(lease)


def test_the_job_that_runs_is_named_over_a_new_connection():
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    lease = stage.lease()
    assert stage.at(5.0) == [
        "1 ping",
        "2 ping",
        "3 ping",
        "4 (hang up)",
        "5 (dial)",
        f"5 {INIT}|current_job=j1",
        "5 ping",
    ]
    assert stage.end(lease) == ["progress|j1|FINISHED", "done|j1|OK|", "ping"]


def test_an_end_without_a_connection_is_said_once_there_is_one():
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    lease = stage.lease()
    stage.at(4.5)
    stage.step(lease, "ENDED")
    assert stage.end(lease) == [], "the connection was given up at 4"
    assert stage.at(5.0) == ["5 (dial)", f"5 {INIT}|current_job=j1", "5 done|j1|OK|", "5 ping"]
    stage.hear(Pong())
    stage.at(6.0)
    assert stage.hear(Intro()) == [INIT, "ping"], "the pong has shown that the end arrived"


def test_an_end_that_may_not_have_arrived_is_said_again_by_another_peer():
    """A second done over the same connection could end the original broker, should it know us by now."""
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    stage.end(stage.lease())
    stage.at(1.0)
    assert stage.hear(Intro()) == ["(hang up)", "(dial)", f"{INIT}|current_job=j1", "done|j1|OK|", "ping"]
    assert stage.hear(Pong()) == []
    stage.at(2.0)
    assert stage.hear(Intro()) == [INIT, "ping"]


def test_pongs_to_earlier_pings_do_not_show_that_an_end_arrived():
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    lease = stage.lease()
    assert stage.at(2.0) == ["1 ping", "2 ping"]
    assert stage.end(lease)[-1] == "ping"
    stage.hear(Pong(), Pong())
    assert stage.session.evaluations.unheard
    stage.hear(Pong())
    assert not stage.session.evaluations.unheard


def test_the_next_eval_shows_that_an_end_arrived():
    stage = Stage().plain()
    stage.hear(evaluate("j1"))
    stage.end(stage.lease())
    stage.hear(evaluate("j2"))
    stage.at(1.0)
    assert stage.hear(Intro()) == [f"{INIT}|current_job=j2", "ping"], "a job that waits here is ours, too"
    stage.hear(Pong())
    assert "done|j2|OK|" in stage.end(stage.lease())


def test_what_an_introduction_did_not_name_is_forgotten():
    """Its end would not be credited, and could end the original broker."""
    stage = Stage().plain()
    stage.hear(evaluate("j1"), evaluate("j2"), evaluate("j3"))
    lease = stage.lease()
    stage.at(1.0)
    assert stage.hear(Intro())[0] == f"{INIT}|current_job=j1"
    stage.end(lease)
    assert stage.session.next_leases(1) == []


def test_an_init_that_was_lost_with_the_broker_is_repeated():
    stage = Stage().plain()
    stage.at(1.0)
    assert stage.hear(Intro()) == [INIT, "ping"]
    assert stage.at(2.0) == ["2 ping"]
    assert stage.hear(Intro()) == [INIT, "ping"]


# No work for us


def test_a_worker_without_evaluations_leaves_an_ordinary_broker_alone():
    stage = Stage("add")
    stage.at(0.0)
    assert stage.hear(Pong()) == ["(hang up)"]
    assert stage.session.standing is Standing.UNFIT
    assert stage.at(31.0) == []
    assert stage.at(32.0)[0] == "32 (dial)", "it may be another broker by then"


def test_an_eval_for_a_worker_without_evaluations_is_not_begun():
    stage = Stage("add")
    stage.at(0.0)
    assert stage.hear(evaluate("j")) == ["(hang up)"]
    assert stage.session.next_leases(1) == []
