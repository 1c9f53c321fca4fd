"""The server's machine as transcripts: what it wants done, what it is told, what it answers."""

import pytest
from msgspec.structs import replace

from crossdock.core.jobs import Job, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.protocols.longpost.messages import (
    Cargo,
    Failure,
    Get,
    Part,
    Start,
    Stop,
    Token,
    delivered,
    gone,
    running,
    stopped,
)
from crossdock.protocols.longpost.session import (
    Admit,
    Cancel,
    Crate,
    Find,
    Keep,
    Look,
    Miss,
    Open,
    Opened,
    Pack,
    Sight,
    Take,
    Terms,
    Unload,
    serve,
)

TERMS = Terms(tenant="t", result_ttl=120)
JOB = Job(id=7, kind="k", payload=b"{}", created=0.0, tenant="t")
DONE = replace(JOB, state=State.SUCCEEDED, finished=100.0, result=b"[1]", outcome=OutcomeKind.SUCCEEDED)
FAILED = replace(JOB, state=State.FAILED, finished=100.0, outcome=OutcomeKind.FAILED, code="404", message="no such thing")
NOW = 101.0
TOKEN = Token(b"17")
HEX = "0a" * 16


def play(request, *transcript):
    """Lead an exchange: ``transcript`` is effect, fact, effect, fact …; return the reply."""
    exchange = serve(request, TERMS)
    fact = None
    for effect, told in zip(transcript[::2], transcript[1::2], strict=True):
        assert exchange.send(fact) == effect
        fact = told
    with pytest.raises(StopIteration) as stop:
        exchange.send(fact)
    return stop.value.value


@pytest.mark.parametrize("state", [State.WAITING, State.READY, State.LEASED])
def test_start_of_a_job_that_goes_on(state):
    opened = Opened("17", Sight(replace(JOB, state=state), NOW))
    for kept in ("17", "18"):
        assert play(Start(b"[]"), Open(b"[]"), opened, Keep("17", 7), kept) == running(Token.of(kept))


def test_start_of_a_quick_job_delivers_under_a_token_that_was_never_kept():
    reply = play(Start(), Open(b"{}"), Opened("17", Sight(DONE, NOW)), Pack(DONE), "[1]")
    assert reply == delivered(Token(b'"17"'), "[1]")


def test_start_of_a_job_that_fails_at_once():
    reply = play(Start(), Open(b"{}"), Opened("17", Sight(FAILED, NOW)))
    assert reply == Failure(404, "no such thing")


def test_get_of_a_running_task():
    assert play(Get(TOKEN), Admit(), None, Look("17"), Sight(JOB, NOW)) == running(TOKEN)


def test_get_of_a_result_echoes_the_token_as_it_came():
    for token in (Token(b"17"), Token(b'"17"')):
        reply = play(Get(token), Admit(), None, Look("17"), Sight(DONE, NOW), Pack(DONE), "[1]", Take("17"), True)
        assert reply == delivered(token, "[1]")


def test_get_of_a_long_result():
    parts = (Token.of("a"), Token.of("b"))
    reply = play(Get(TOKEN), Admit(), None, Look("17"), Sight(DONE, NOW), Pack(DONE), parts, Take("17"), True)
    assert reply == delivered(TOKEN, parts)


@pytest.mark.parametrize(("job", "made_ready"), [(DONE, (Pack(DONE), "[1]")), (FAILED, ())])
def test_whoever_is_slower_is_told_gone(job, made_ready):
    assert play(Get(TOKEN), Admit(), None, Look("17"), Sight(job, NOW), *made_ready, Take("17"), False) == gone(TOKEN)


def test_get_of_what_is_not_there_is_a_miss():
    for sight in (Sight(None, NOW), Sight(replace(DONE, tenant="other"), NOW)):
        assert play(Get(TOKEN), Admit(), None, Look("17"), sight, Miss(), None) == gone(TOKEN)


def test_get_with_a_token_of_the_wrong_shape_looks_nothing_up():
    for text in (b"1.5", b"true", b'""', b"9" * 5000):
        assert play(Get(Token(text)), Admit(), None, Miss(), None) == gone(Token(text))


@pytest.mark.parametrize(
    ("job", "now"),
    [
        (DONE, 220.0),
        (FAILED, 220.0),
        (replace(JOB, state=State.CANCELLED, finished=100.0), NOW),
        (replace(JOB, state=State.LEASED, cancel_requested=True), NOW),
    ],
)
def test_expired_and_cancelled_tasks_are_gone(job, now):
    assert play(Get(TOKEN), Admit(), None, Look("17"), Sight(job, now)) == gone(TOKEN)


def test_a_result_lives_until_just_before_its_time():
    reply = play(Get(TOKEN), Admit(), None, Look("17"), Sight(DONE, 219.9), Pack(DONE), "[1]", Take("17"), True)
    assert reply.done


def test_a_client_that_guesses_is_refused():
    for request in (Get(TOKEN), Cargo(Token.of(HEX))):
        reply = play(request, Admit(), 42)
        assert (reply.status, reply.retry_after) == (429, 42)


@pytest.mark.parametrize(
    ("outcome", "code", "status", "message"),
    [
        (OutcomeKind.FAILED, "404", 404, "text"),
        (OutcomeKind.FAILED, "599", 599, "text"),
        (OutcomeKind.FAILED, "400", 400, "text"),
        (OutcomeKind.FAILED, "399", 500, "text"),
        (OutcomeKind.FAILED, "600", 500, "text"),
        (OutcomeKind.FAILED, "٤٠٤", 500, "text"),
        (OutcomeKind.FAILED, "bad_input", 500, "text"),
        (OutcomeKind.FAILED, "", 500, "text"),
        (OutcomeKind.FAILED, "total_timeout", 504, "the worker took too long"),
        (OutcomeKind.TIMED_OUT, "timeout", 504, "the worker took too long"),
        (OutcomeKind.ERRORED, "ValueError", 500, "worker error"),
        (OutcomeKind.ERRORED, "404", 500, "worker error"),
        (OutcomeKind.LOST, "lost", 500, "worker error"),
    ],
)
def test_how_failures_are_shown(outcome, code, status, message):
    job = replace(FAILED, outcome=outcome, code=code, message="text")
    reply = play(Get(TOKEN), Admit(), None, Look("17"), Sight(job, NOW), Take("17"), True)
    assert reply == Failure(status, message)


def test_stop_cancels_and_forgets():
    assert play(Stop(TOKEN), Look("17"), Sight(JOB, NOW), Cancel("17", 7), None) == stopped(TOKEN)


def test_stop_of_anything_else_changes_nothing_and_is_answered_alike():
    assert play(Stop(TOKEN), Look("17"), Sight(None, NOW)) == stopped(TOKEN)
    assert play(Stop(TOKEN), Look("17"), Sight(replace(JOB, tenant="other"), NOW)) == stopped(TOKEN)
    assert play(Stop(Token(b"true"))) == stopped(Token(b"true"))


def test_cargo_is_read_and_forgotten():
    token, crate = Token.of(HEX), Crate("t", b"part")
    assert play(Cargo(token), Admit(), None, Find(HEX), crate, Unload(HEX, crate), "part") == Part(token, "part")


def test_cargo_that_is_not_there():
    token = Token.of(HEX)
    foreign = Crate("other", b"part")
    assert play(Cargo(token), Admit(), None, Find(HEX), None, Miss(), None).status == 404
    assert play(Cargo(token), Admit(), None, Find(HEX), foreign, Miss(), None).status == 404
    assert play(Cargo(TOKEN), Admit(), None, Miss(), None).status == 404
    crate = Crate("t", b"part")
    assert play(Cargo(token), Admit(), None, Find(HEX), crate, Unload(HEX, crate), None).status == 404
