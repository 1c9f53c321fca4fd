"""The workers' door as transcripts: what workers say and when, and what the session wants done."""

from itertools import count

import pytest

from crossdock.core.jobs import OutcomeKind
from crossdock.core.requests import Capabilities
from crossdock.protocols.recodex.backend_effects import (
    Ask,
    Attach,
    Complain,
    Detach,
    End,
    Inherit,
    Lose,
    Note,
    Pass,
    Reclaim,
    Release,
    Running,
    Send,
    Want,
    Welcome,
)
from crossdock.protocols.recodex.backend_session import BackendSession
from crossdock.protocols.recodex.messages import (
    Done,
    Evaluate,
    Extended,
    Init,
    Intro,
    Malformed,
    Ping,
    Pong,
    Progress,
    Unknown,
)

P, Q = b"peer-p", b"peer-q"
HELLO = Init("g", (("env", "c"),), (("description", "mine"),))
OFFER = Capabilities(group="g", values={"env": ("c",), "kind": ("evaluation",)})
RUNNING = Running("j", 7, 1, "http://r")
OURS = Init("g", (), (("crossdock", '{"worker":"w"}'),))


@pytest.fixture
def session():
    numbers = count(1)
    return BackendSession(4.0, 3, lambda: f"w{next(numbers)}")


@pytest.fixture
def busy(session):
    session.receive(P, HELLO, 0.0)
    session.given("w1", RUNNING, "http://a")
    return session


def current(job: str) -> Init:
    return Init("g", (("env", "c"),), (("current_job", job),))


def test_a_worker_comes_and_gets_a_job(session):
    assert session.receive(P, HELLO, 0.0) == [Attach("w1", OFFER, "mine"), Want("w1")]
    assert session.given("w1", RUNNING, "http://a") == [Send(P, Evaluate("j", "http://a", "http://r"))]


def test_a_ping_asks_who_the_broker_takes_it_for(session):
    assert session.receive(P, Ping(), 0.0) == [Send(P, Intro())]
    session.receive(P, HELLO, 0.0)
    assert session.receive(P, Ping(), 0.0) == [Send(P, Pong())]


@pytest.mark.parametrize("status", ["OK", "FAILED", "INTERNAL_ERROR", "ERR"])
def test_a_worker_that_is_done_wants_more(busy, status):
    done = Done("j", status, "why")
    assert busy.receive(P, done, 1.0) == [End(RUNNING, done), Want("w1")]
    assert busy.receive(P, done, 1.0) == [Complain(P, "done with another job", "j")]


def test_what_is_done_is_only_what_was_given(busy):
    assert busy.receive(P, Done("k", "OK"), 1.0) == [Complain(P, "done with another job", "k")]
    assert busy.receive(P, Done("j", "MAYBE"), 1.0) == [Complain(P, "done with an unknown status", "MAYBE")]
    assert busy.receive(P, Done("j", "OK"), 1.0) == [End(RUNNING, Done("j", "OK")), Want("w1")]


def test_the_last_internal_error_is_told_to_those_who_watch(session):
    session.receive(P, HELLO, 0.0)
    last = Running("j", 9, 3, "r")
    session.given("w1", last, "a")
    done = Done("j", "INTERNAL_ERROR", "disk")
    told = [Pass((b"j", word), stray=False) for word in (b"FAILED", b"FINISHED")]
    assert session.receive(P, done, 1.0) == [*told, End(last, done), Want("w1")]


def test_progress_of_the_running_job_is_noted_and_passed_on(busy):
    progress = Progress.of("j", "TASK", "t", "COMPLETED")
    assert busy.receive(P, progress, 1.0) == [Note(7, progress), Pass(progress.frames, stray=False)]


def test_other_progress_is_passed_on_unread(busy):
    late = Progress((b"k", b"\xff"))
    assert busy.receive(P, late, 1.0) == [Pass(late.frames, stray=True)]
    assert busy.receive(Q, late, 1.0) == [Pass(late.frames, stray=True)]
    mine = Progress.of("j", "FINISHED")
    busy.receive(P, Done("j", "OK"), 1.0)
    assert busy.receive(P, mine, 1.0) == [Pass(mine.frames, stray=True)]


def test_silence_loses_a_worker_and_its_job_goes_on(busy):
    for now in (0.5, 1.0, 1.5):
        assert busy.tick(now) == []
    busy.receive(P, Ping(), 1.6)
    for now in (2.0, 3.0, 4.0, 5.0, 5.5):
        assert busy.tick(now) == []
    lose, aborted = busy.tick(5.7)
    assert (lose.worker, lose.running, lose.outcome.kind) == ("w1", RUNNING, OutcomeKind.LOST)
    assert lose.outcome.message == "Worker timed out and its job cannot be reassigned"
    assert lose.outcome.retry_after == 0.0
    assert aborted == Pass((b"j", b"ABORTED"), stray=False)
    assert busy.receive(P, Ping(), 6.0) == [Send(P, Intro())]


def test_a_job_that_lost_its_last_worker_is_given_up(session):
    session.receive(P, HELLO, 0.0)
    session.given("w1", Running("j", 9, 3, "r"), "a")
    session.tick(0.0)
    lose, *told = [effect for now in range(1, 6) for effect in session.tick(float(now))]
    assert lose.outcome.message == (
        "Job was reassigned too many (2) times. Last failure message was: Worker timed out and its job cannot be reassigned"
    )
    assert told == [Pass((b"j", word), stray=False) for word in (b"FAILED", b"FINISHED")]


def test_a_worker_that_never_spoke_again_is_lost_too(session):
    session.receive(P, HELLO, 0.0)
    session.tick(0.0)
    assert [type(effect) for now in range(1, 6) for effect in session.tick(float(now))] == [Lose]
    assert len(session.roster) == 0


def test_nobody_is_blamed_for_a_broker_that_slept(busy):
    busy.tick(0.5)
    assert busy.tick(60.0) == []
    assert busy.tick(60.5) == []
    assert busy.receive(P, Ping(), 61.0) == [Send(P, Pong())]


def test_the_same_introduction_again_changes_nothing(session):
    session.receive(P, HELLO, 0.0)
    again = Init("g", (("env", "c"),), (("description", "other"),))
    assert session.receive(P, again, 1.0) == []


def test_another_introduction_replaces_the_first_and_the_job_goes_on(busy):
    other = Init("h", (("env", "java"),))
    offer = Capabilities(group="h", values={"env": ("java",), "kind": ("evaluation",)})
    assert busy.receive(P, other, 1.0) == [Attach("w1", offer, "", (7,))]
    assert busy.receive(P, Done("j", "OK"), 1.0) == [End(RUNNING, Done("j", "OK")), Want("w1")]


def test_a_new_connection_that_names_a_running_job_is_the_same_worker(busy):
    [attach] = busy.receive(Q, current("j"), 3.0)
    assert (attach.worker, attach.tokens) == ("w1", (7,))
    assert busy.receive(P, Ping(), 3.1) == [Send(P, Intro())]
    assert busy.receive(Q, Done("j", "OK"), 3.2) == [End(RUNNING, Done("j", "OK")), Want("w1")]
    assert [effect for now in range(5, 8) for effect in busy.tick(float(now))] == []


def test_a_worker_that_lost_its_job_cannot_take_it_from_the_one_that_has_it_now(session):
    second = Running("j", 8, 2, "r")
    session.receive(P, HELLO, 0.0)
    session.given("w1", second, "a")
    assert session.receive(Q, current("j"), 0.5) == [Attach("w2", OFFER, "")]
    for now in range(1, 20):
        session.receive(P, Ping(), float(now))
        session.receive(Q, Ping(), float(now))
        assert session.tick(float(now)) == []
    stray = Progress.of("j", "ENDED")
    assert session.receive(Q, stray, 19.5) == [Pass(stray.frames, stray=True)]
    done = Done("j", "OK")
    assert session.receive(Q, done, 19.5) == [Inherit(done), Want("w2")]
    assert session.receive(P, done, 19.6) == [End(second, done), Want("w1")]


def test_a_worker_that_came_back_at_once_goes_on_when_its_old_connection_stays_quiet(busy):
    assert busy.receive(Q, current("j"), 0.1) == [Attach("w2", OFFER, "")]
    effects = []
    for now in range(1, 10):
        busy.receive(Q, Ping(), float(now))
        effects += busy.tick(float(now))
    assert effects == [Detach("w2"), Attach("w1", OFFER, "", (7,))]
    assert [peer.id for peer in busy.roster] == [Q]
    assert busy.receive(Q, Done("j", "OK"), 9.5) == [End(RUNNING, Done("j", "OK")), Want("w1")]


def test_of_two_jobs_of_one_id_the_one_whose_worker_is_quiet_is_gone_on_with(busy):
    other = Running("j", 8, 1, "http://other")
    busy.receive(Q, HELLO, 0.0)
    busy.given("w2", other, "a")
    assert busy.receive(b"stranger", Done("j", "OK"), 0.5) == [Complain(b"stranger", "done by a stranger", "j")]
    busy.receive(P, Ping(), 3.0)
    assert busy.receive(b"back", current("j"), 3.1) == [Attach("w2", OFFER, "", (8,))]
    done = Done("j", "OK")
    assert busy.receive(b"back", done, 3.2) == [End(other, done), Want("w2")]
    assert busy.receive(P, done, 3.3) == [End(RUNNING, done), Want("w1")]


def test_two_quiet_workers_with_jobs_of_one_id_are_not_taken_for_each_other(busy):
    busy.receive(Q, HELLO, 0.0)
    busy.given("w2", Running("j", 8, 1, "http://other"), "a")
    assert busy.receive(b"back", current("j"), 3.1) == [Attach("w3", OFFER, "")]
    assert len(busy.roster) == 3


def test_a_job_from_before_a_restart_is_looked_for(session):
    joined = session.receive(P, current("j"), 0.0)
    assert joined == [Attach("w1", OFFER, ""), Reclaim(P, "j")]
    found = session.reclaimed(P, "j", "old", Running("j", 5, 2, "http://r"))
    assert found == [Detach("w1"), Attach("old", OFFER, "", (5,))]
    done = Done("j", "OK")
    assert session.receive(P, done, 1.0) == [End(Running("j", 5, 2, "http://r"), done), Want("old")]


def test_a_job_that_somebody_else_runs_by_now_is_not_given_to_who_names_it(busy):
    busy.receive(Q, current("other-name"), 1.0)
    assert busy.reclaimed(Q, "other-name", "w1", Running("other-name", 7, 1, "r")) == []
    done = Done("other-name", "OK")
    assert busy.receive(Q, done, 1.0) == [Inherit(done), Want("w2")]


def test_a_job_nobody_knows_occupies_its_worker_until_it_is_done(session):
    session.receive(P, current("ghost"), 0.0)
    assert session.reclaimed(P, "ghost", None, Running("ghost")) == []
    assert session.given("w1", RUNNING, "a") == [Release(7)]
    done = Done("ghost", "OK")
    assert session.receive(P, done, 1.0) == [Inherit(done), Want("w1")]


def test_a_job_that_ended_elsewhere_may_still_be_done_well(session):
    """The lease is over but the job not: whether a late success counts is for the core to say."""
    session.receive(P, current("j"), 0.0)
    assert session.reclaimed(P, "j", None, Running("j", 5)) == []
    assert session.receive(P, Done("j", "OK"), 1.0)[0] == End(Running("j", 5), Done("j", "OK"))


def test_a_stranger_may_be_done_with_what_nobody_here_runs(session):
    assert session.receive(P, Done("j", "OK"), 0.0) == [Inherit(Done("j", "OK"))]
    assert session.receive(P, Done("j", "WHAT"), 0.0) == [Complain(P, "done with an unknown status", "WHAT")]


def test_the_transport_may_reconnect_below_a_worker_that_is_done(busy):
    assert busy.receive(Q, Done("j", "OK"), 1.0) == [End(RUNNING, Done("j", "OK")), Want("w1")]


def test_of_a_job_that_was_tried_twice_a_stranger_may_be_the_first_worker(session):
    session.receive(P, HELLO, 0.0)
    session.given("w1", Running("j", 8, 2, "r"), "a")
    assert session.receive(Q, Done("j", "OK"), 1.0) == [Complain(Q, "done by a stranger", "j")]


def test_a_job_for_a_worker_that_has_gone_goes_back(busy, session):
    assert busy.undelivered(P, Pong()) == []
    assert busy.undelivered(P, Evaluate("j", "a", "r")) == [Detach("w1", 7)]
    assert busy.given("w1", Running("k", 8), "a") == [Release(8)]
    assert len(session.roster) == 0


def test_a_worker_of_ours_is_welcomed_and_asks(session):
    assert session.receive(P, OURS, 0.0) == [Welcome(P, OURS)]
    question = Extended(1, b"x")
    assert session.receive(P, question, 0.0) == [Send(P, Intro())]
    assert session.welcomed(P, "w", OURS, 0.0) == []
    assert session.receive(P, question, 0.0) == [Ask("w", P, question)]
    assert session.receive(P, Ping(), 0.0) == [Send(P, Pong())]
    assert session.welcomed(Q, "w", OURS, 1.0) == []
    assert [peer.id for peer in session.roster] == [Q]
    session.left("w")
    assert len(session.roster) == 0


def test_a_pong_never_overtakes_the_welcome(session):
    for again in (False, True):
        assert session.receive(P, OURS, 0.0) == [Welcome(P, OURS)]
        assert session.receive(P, Ping(), 0.0) == session.receive(P, Ping(), 0.1) == []
        assert session.welcomed(P, "w", OURS, 0.2) == [Send(P, Pong()), Send(P, Pong())], again
        assert session.receive(P, Ping(), 0.3) == [Send(P, Pong())]


def test_who_is_turned_away_is_asked_again_when_it_pings(session):
    session.receive(P, OURS, 0.0)
    session.receive(P, Ping(), 0.0)
    assert session.turned_away(P) == [Send(P, Intro())]
    assert session.receive(P, Ping(), 0.1) == [Send(P, Intro())]


def test_a_plain_worker_cannot_ask(busy):
    assert busy.receive(P, Extended(1, b"x"), 0.0) == [Send(P, Intro())]


def test_a_worker_of_ours_that_falls_silent_is_lost_with_all_it_holds(session):
    session.welcomed(P, "w", OURS, 0.0)
    session.tick(0.0)
    [lose] = [effect for now in range(1, 6) for effect in session.tick(float(now))]
    assert (lose.worker, lose.running, lose.outcome.kind) == ("w", None, OutcomeKind.LOST)


def test_nonsense_is_complained_of(busy):
    assert busy.receive(P, Unknown(b"eval"), 0.0) == [Complain(P, "unknown command", "b'eval'")]
    assert busy.receive(P, Malformed("done", "too short"), 0.0) == [Complain(P, "malformed message", "done: too short")]


def test_a_worker_the_core_forgot_is_introduced_again(session):
    session.receive(P, HELLO, 0.0)
    assert session.forgotten(session.roster.get(P)) == [Attach("w1", OFFER, "mine"), Want("w1")]
