"""The worker's session with one of our brokers: questions, answers, and what outlives a connection."""

from itertools import pairwise

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArtifactRef, Lease
from crossdock.core.lifecycle import State
from crossdock.core.requests import Note, Progress, Renewal, Verdict
from crossdock.protocols.recodex.extension import (
    Claim,
    Fetch,
    Grant,
    Judged,
    Put,
    Refused,
    Renew,
    Renewed,
    Report,
    Stored,
    decode_hello,
)
from crossdock.protocols.recodex.messages import Extended, Intro, Pong
from crossdock.protocols.recodex.worker_session import Standing
from unit.recodex.worker_stage import GOOD, Stage, answer, evaluate, welcome

INIT = "init|group1||description=a worker"
JUDGED = Judged(Verdict(late=False, state=State.SUCCEEDED))


def lease(token: int) -> Lease:
    return Lease(job=token, token=token, attempt=1, kind="add", payload=b"{}", length=30.0)


def named(stage) -> tuple[int, ...]:
    """Return the tokens that the session names when it is asked who it is."""
    stage.session.introduce(stage.now)
    [init, _] = [effect.frames for effect in stage.session.effects]
    stage.said()
    return decode_hello(init[-1].partition(b"=")[2].decode()).tokens


def test_questions_wait_for_the_welcome():
    stage = Stage("add")
    ticket = stage.ask(Claim(4, 10.0))
    assert [line.split("|")[0] for line in stage.at(0.0)] == ["0 (dial)", "0 init", "0 ping"]
    assert stage.hear(welcome()) == [f"{ticket} claim"]
    assert stage.hear(Pong()) == []
    assert stage.session.standing is Standing.EXTENDED


def test_an_intro_while_the_broker_still_registers_us_changes_nothing():
    stage = Stage("add")
    stage.at(0.0)
    assert stage.hear(Intro()) == [], "it answers the ping, and the welcome is on its way"
    assert stage.hear(welcome()) == []


def test_a_broker_that_refuses_the_introduction_is_left_alone_for_a_while():
    stage = Stage("add")
    stage.at(0.0)
    assert stage.hear(answer(0, Refused("invalid", "no such version"))) == ["(hang up)"]
    assert stage.session.standing is Standing.UNFIT
    assert (stage.session.refusal.code, stage.session.refusal.message) == (Code.INVALID, "no such version")
    assert stage.at(32.0)[0] == "32 (dial)"


def test_answers_find_who_asked():
    stage = Stage("add").extended()
    one, two = stage.ask(Claim(1)), stage.ask(Claim(1))
    stage.hear(answer(two, Grant((lease(2),))), answer(one, Grant((lease(1),))))
    assert stage.settled == {one: Grant((lease(1),)), two: Grant((lease(2),))}
    assert stage.hear(answer(one, Grant(()))) == [], "an answer that comes twice is not one"


@pytest.mark.parametrize(
    ("code", "read"), [("conflict", Code.CONFLICT), ("not_found", Code.NOT_FOUND), ("teapot", Code.INTERNAL)]
)
def test_refusals_come_back_as_the_core_s_errors(code, read):
    stage = Stage("add").extended()
    ticket = stage.ask(Claim(1))
    stage.hear(answer(ticket, Refused(code, "no")))
    error = stage.settled[ticket]
    assert isinstance(error, CrossdockError)
    assert (error.code, error.message) == (read, "no")


def test_an_answer_that_cannot_be_understood_is_an_error_of_its_question():
    stage = Stage("add").extended()
    ticket = stage.ask(Claim(1))
    stage.hear(Extended(ticket, b"\xc1"))
    assert stage.settled[ticket].code is Code.INTERNAL


def test_notes_ask_for_no_answer_and_are_lost_while_nobody_listens():
    stage = Stage("add").extended()
    stage.session.note(7, Note(progress=Progress(1, 2)))
    assert stage.said() == ["0 say"]
    stage.at(4.0)
    stage.session.note(7, Note(progress=Progress(2, 2)))
    assert stage.said() == []


def test_open_questions_are_repeated_after_a_reconnection():
    stage = Stage("add").extended()
    claim, report = stage.ask(Claim(1, 30.0)), stage.ask(Report(5, GOOD))
    assert stage.said() == [f"{claim} claim", f"{report} report"]
    assert [line.split("|")[0] for line in stage.at(5.0)][-4:] == ["4 (hang up)", "5 (dial)", "5 init", "5 ping"]
    assert stage.hear(welcome()) == [f"{claim} claim", f"{report} report"]
    stage.hear(answer(report, JUDGED))
    assert stage.settled == {report: JUDGED}


def test_open_questions_are_repeated_after_a_restart_of_the_broker():
    stage = Stage("add").extended()
    report = stage.ask(Report(5, GOOD))
    stage.at(1.0)
    assert stage.hear(Intro())[0] == INIT
    assert stage.hear(welcome()) == [f"{report} report"]


def test_a_worker_that_holds_leases_does_not_stay_away_for_long():
    stage = Stage("add").extended()
    stage.hear(answer(stage.ask(Claim(1)), Grant((lease(1),))))
    dials = [float(line.split()[0]) for line in stage.at(100.0) if line.endswith("(dial)")]
    assert max(later - earlier for earlier, later in pairwise(dials)) == 8.0


def test_what_is_asked_during_a_reconnection_is_said_once_after_it():
    stage = Stage("add").extended()
    stage.at(4.5)
    renew = stage.ask(Renew((5,)))
    assert stage.said() == []
    stage.at(5.0)
    assert stage.hear(welcome(5)) == [f"{renew} renew"]


def test_a_forgotten_question_is_not_repeated():
    stage = Stage("add").extended()
    ticket = stage.ask(Claim(1))
    stage.session.questions.forget(ticket)
    stage.at(5.0)
    assert stage.hear(welcome()) == []


def test_leases_that_nobody_waits_for_any_more_are_kept_for_the_next_claim():
    stage = Stage("add").extended()
    ticket = stage.ask(Claim(3))
    stage.session.questions.forget(ticket)
    stage.hear(answer(ticket, Grant((lease(1), lease(2), lease(3)))))
    assert [found.token for found in stage.session.next_leases(2)] == [1, 2]
    assert [found.token for found in stage.session.next_leases(2)] == [3]


def test_a_lease_for_a_claim_that_was_given_up_goes_to_the_one_that_waits_now():
    stage = Stage("add").extended()
    old = stage.ask(Claim(3))
    stage.session.questions.forget(old)
    new = stage.ask(Claim(1))
    stage.hear(answer(old, Grant((lease(1), lease(2)))))
    assert stage.settled == {new: Grant((lease(1),))}
    assert [found.token for found in stage.session.next_leases(2)] == [2]


def test_kept_leases_that_have_ended_meanwhile_are_not_given_out():
    stage = Stage("add").extended()
    stage.hear(answer(99, Grant((lease(1), lease(2)))))
    stage.at(1.0)
    stage.hear(Intro(), welcome(2))
    assert [found.token for found in stage.session.next_leases(9)] == [2]


def test_an_introduction_names_the_tokens_that_are_held():
    stage = Stage("add").extended()
    ticket = stage.ask(Claim(3))
    stage.hear(answer(ticket, Grant((lease(1), lease(2), lease(3), lease(4)))))
    assert named(stage) == (1, 2, 3, 4)
    stage.hear(welcome(1, 2, 3))
    assert named(stage) == (1, 2, 3), "the broker has taken 4 away"
    stage.hear(welcome(1, 2, 3))
    report = stage.ask(Report(1, GOOD))
    stage.hear(answer(report, JUDGED))
    renew = stage.ask(Renew((2, 3)))
    stage.hear(answer(renew, Renewed(Renewal((3,), ()))))
    assert named(stage) == (3,), "1 has ended, and 2 was taken away"


def test_a_broker_that_does_not_know_us_is_told_a_report_again_but_only_once():
    stage = Stage("add").extended()
    report = stage.ask(Report(1, GOOD))
    stage.said()
    assert stage.hear(answer(report, Refused("not_found", "who?"))) == [INIT, "ping"]
    assert stage.hear(welcome()) == [f"{report} report"]
    assert stage.hear(answer(report, Refused("not_found", "who?"))) == []
    assert stage.settled[report].code is Code.NOT_FOUND


def test_uploads_begin_again_and_downloads_go_on():
    stage = Stage("add").extended()
    put, fetch = stage.ask(Put(1, b"x", last=False)), stage.ask(Fetch(ArtifactRef("0" * 64, 9), 0, 9))
    stage.at(5.0)
    assert stage.hear(welcome()) == [f"{fetch} fetch"]
    assert stage.settled[put].code is Code.UNAVAILABLE
    stage.hear(answer(put, Stored()))
    assert isinstance(stage.settled[put], CrossdockError)


def test_our_broker_replaced_by_an_ordinary_one():
    stage = Stage("evaluation").extended()
    stage.hear(answer(99, Grant((lease(1),))))
    claim = stage.ask(Claim(1, 30.0))
    stage.at(1.0)
    stage.hear(Intro(), Pong())
    assert stage.session.standing is Standing.PLAIN
    assert stage.settled[claim].code is Code.UNAVAILABLE
    assert stage.session.next_leases(1) == []
    stage.hear(evaluate("j"))
    assert stage.lease().kind == "evaluation"


def test_an_ordinary_broker_replaced_by_ours():
    stage = Stage("evaluation").plain()
    stage.hear(evaluate("j"))
    old = stage.lease()
    stage.at(1.0)
    stage.hear(Intro(), welcome())
    assert stage.session.evaluations.alive((old.token,)) == ()
    assert not stage.session.end(old.token, GOOD)
