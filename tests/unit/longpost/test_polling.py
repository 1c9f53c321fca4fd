"""The client's machine, as transcripts."""

import itertools

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.longpost.codec import encode_reply
from crossdock.protocols.longpost.messages import (
    Answer,
    Cargo,
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
from crossdock.protocols.longpost.polling import Ask, Delays, Done, GoneError, Polling, WorkerError

TOKEN = Token(b'"17"')


def answer(polling: Polling, *replies) -> list:
    return [polling.receive(200, encode_reply(reply)) for reply in replies]


@pytest.fixture
def polling() -> Polling:
    """A conversation that has begun."""
    polling = Polling()
    assert polling.start(b'{"a":1}') == Ask(Start(b'{"a":1}'))
    return polling


def test_the_delays_are_those_of_the_protocol():
    delays, pause, pauses = Delays(), Delays().initial, []
    for _ in range(900):
        pauses.append(pause)
        pause = delays.following(pause)
    assert pauses[:3] == pytest.approx([0.5, 0.51, 0.52])
    for previous, following in itertools.pairwise(pauses):
        assert following == pytest.approx(min(max(previous * 1.01, previous + 0.01), 60.0))
    assert pauses[-1] == 60.0
    assert max(pauses) == 60.0


def test_the_delays_can_be_set():
    polling = Polling(Delays(initial=1, factor=2, step=0, cap=5))
    polling.start(b"{}")
    assert [step.after for step in answer(polling, *[running(TOKEN)] * 5)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize("wrong", [{"initial": 0}, {"factor": 0.5}, {"step": -1}, {"cap": 0.1}])
def test_delays_that_do_not_grow_are_refused(wrong):
    with pytest.raises(CrossdockError):
        Delays(**wrong)


def test_a_result_in_the_answer_to_start(polling):
    assert answer(polling, delivered(TOKEN, "[1]")) == [Done("[1]")]
    assert polling.abandon() is None


def test_polling_until_the_result(polling):
    steps = answer(polling, running(TOKEN), running(TOKEN), delivered(TOKEN, "null"))
    assert steps == [Ask(Get(TOKEN), 0.5), Ask(Get(TOKEN), 0.51), Done("null")]


def test_tokens_are_echoed_in_the_type_they_came_in(polling):
    number = Token(b"17")
    assert answer(polling, running(number)) == [Ask(Get(number), 0.5)]


def test_parts_are_asked_for_in_order_and_joined(polling):
    one, two = Token.of("a"), Token.of("b")
    steps = answer(
        polling, delivered(TOKEN, (one, two)), Part(one, '{"x":'), Answer(two, done=True, more=False, result="2}")
    )
    assert steps == [Ask(Cargo(one)), Ask(Cargo(two)), Done('{"x":2}')]


def test_a_part_with_another_token_is_refused(polling):
    answer(polling, delivered(TOKEN, (Token.of("a"), Token.of("b"))))
    with pytest.raises(CrossdockError) as caught:
        answer(polling, Part(Token.of("b"), "2"))
    assert caught.value.code is Code.INVALID


def test_gone(polling):
    answer(polling, running(TOKEN))
    with pytest.raises(GoneError):
        answer(polling, gone(TOKEN))
    assert polling.abandon() is None


def test_an_error_status_says_which_and_what(polling):
    with pytest.raises(WorkerError) as caught:
        polling.receive(418, b"I'm a \xff teapot")
    assert (caught.value.status, caught.value.message) == (418, "I'm a � teapot")
    assert polling.abandon() is None


def test_of_a_problem_document_the_detail_is_told(polling):
    with pytest.raises(WorkerError) as caught:
        polling.receive(422, b'{"type":"about:blank","status":422,"detail":"no such \\"page\\""}')
    assert str(caught.value) == 'the server answered 422: no such "page"'


@pytest.mark.parametrize("body", [b'{"detail":7}', b'{"title":"x"}', b"[1]", b"7", b'{"detail":"' + b"[" * 50])
def test_what_only_looks_like_a_problem_document_is_told_as_it_is(polling, body):
    with pytest.raises(WorkerError) as caught:
        polling.receive(500, body)
    assert caught.value.message == body.decode()


def test_a_task_that_is_given_up_is_stopped_once(polling):
    answer(polling, running(TOKEN))
    assert polling.abandon() == Stop(TOKEN)
    assert polling.abandon() is None


def test_a_task_is_stopped_when_its_poll_was_refused(polling):
    answer(polling, running(TOKEN))
    with pytest.raises(WorkerError):
        polling.receive(429, b"")
    assert polling.abandon() == Stop(TOKEN)


def test_only_polls_are_repeated_when_no_answer_comes(polling):
    assert polling.lost() is None
    answer(polling, running(TOKEN))
    assert polling.lost() == Ask(Get(TOKEN), 0.51)
    answer(polling, delivered(TOKEN, (Token.of("a"),)))
    assert polling.lost() is None


@pytest.mark.parametrize(
    "reply",
    [stopped(TOKEN), Answer(TOKEN, done=True, more=True), Answer(TOKEN, done=True, more=True, result=()), Part(TOKEN, "")],
)
def test_answers_that_make_no_sense(polling, reply):
    with pytest.raises(CrossdockError):
        answer(polling, reply)
