"""The clients' door as transcripts: what a client says, what the session wants, what the client hears."""

import pytest

from crossdock.protocols.recodex.frontend_session import Complain, FrontendSession, Keep, Look, Offer, Send
from crossdock.protocols.recodex.messages import (
    Accept,
    Ack,
    Eval,
    Freeze,
    GetStats,
    Malformed,
    Reject,
    Stats,
    Unfreeze,
    Unknown,
)

A, B = b"client-a", b"client-b"
JOB = Eval("j", "http://a", "http://r", (("env", "c"),))
OLD = Eval("j", "http://a", "http://r", (("env", "c"),), separated=False)
FROZEN = Reject("The broker is frozen.")


@pytest.fixture
def session():
    return FrontendSession()


def test_an_ack_comes_at_once_and_the_verdict_when_the_job_is_on_disk(session):
    assert session.receive(A, JOB) == [Send(A, Ack()), Offer(1, JOB)]
    assert session.unsettled == 1
    assert session.settle(1, Accept()) == [Send(A, Accept())]
    assert session.unsettled == 0


def test_the_oldest_dialect_gets_no_ack(session):
    assert session.receive(A, OLD) == [Offer(1, OLD)]
    assert session.settle(1, Accept()) == [Send(A, Accept())]


def test_replies_keep_the_order_of_requests_and_those_to_one_request_stay_together(session):
    assert session.receive(A, JOB) == [Send(A, Ack()), Offer(1, JOB)]
    assert session.receive(A, JOB) == [Offer(2, JOB)]
    assert session.receive(A, GetStats()) == [Look(3)]
    assert session.settle(3, Stats((("x", "1"),))) == []
    assert session.settle(2, Reject("no")) == []
    assert session.settle(1, Accept()) == [
        Send(A, Accept()),
        Send(A, Ack()),
        Send(A, Reject("no")),
        Send(A, Stats((("x", "1"), ("is-frozen", "0")))),
    ]


def test_clients_do_not_wait_for_one_another(session):
    session.receive(A, JOB)
    assert session.receive(B, JOB) == [Send(B, Ack()), Offer(2, JOB)]
    assert session.settle(2, Accept()) == [Send(B, Accept())]


def test_a_frozen_broker_acknowledges_and_rejects(session):
    assert session.receive(A, Freeze()) == [Keep(1, frozen=True)]
    assert session.receive(B, JOB) == [Send(B, Ack()), Send(B, FROZEN)]
    assert session.receive(A, JOB) == []
    assert session.settle(1, Ack()) == [Send(A, Ack()), Send(A, Ack()), Send(A, FROZEN)]
    assert session.receive(A, Unfreeze()) == [Keep(2, frozen=False)]
    assert session.settle(2, Ack()) == [Send(A, Ack())]
    assert session.receive(A, JOB) == [Send(A, Ack()), Offer(3, JOB)]


def test_a_broker_that_ended_frozen_begins_frozen():
    assert FrontendSession(frozen=True).receive(A, OLD) == [Send(A, FROZEN)]


def test_a_flag_that_could_not_be_written_is_not_acknowledged(session):
    session.receive(A, Freeze())
    assert session.settle(1, None) == []
    assert session.receive(A, OLD) == [Send(A, FROZEN)]


def test_a_malformed_eval_is_rejected_in_its_turn(session):
    session.receive(A, OLD)
    bad = Malformed("eval", "the job id is missing")
    assert session.receive(A, bad) == [Complain(A, "malformed message", "the job id is missing")]
    rejected = Reject("Malformed message: the job id is missing.")
    assert session.settle(1, Accept()) == [Send(A, Accept()), Send(A, Ack()), Send(A, rejected)]
    assert session.receive(B, Malformed("eval", "x", separated=False))[1:] == [Send(B, Reject("Malformed message: x."))]


def test_threads_that_are_no_number_are_rejected_before_anything_is_asked(session):
    job = Eval("j", "a", "r", (("threads", "abc"),))
    assert session.receive(A, job) == [Send(A, Ack()), Send(A, Reject("The header threads=abc is not a number."))]


def test_commands_nobody_knows_are_not_answered(session):
    assert session.receive(A, Unknown(b"init")) == [Complain(A, "unknown command", "b'init'")]


def test_nothing_is_kept_of_clients_that_are_answered(session):
    for number in range(1, 100):
        session.receive(b"%d" % number, JOB)
        session.settle(number, Accept())
    assert session._queues == {}
    assert session._open == {}


def test_what_waits_behind_an_open_request_is_not_settled_either(session):
    session.receive(A, JOB)
    session.receive(A, Malformed("eval", "nonsense"))
    session.receive(A, Eval("j", "http://a", "http://r", (("threads", "x"),)))
    session.receive(A, GetStats())
    assert session.unsettled == 4
    session.receive(B, Malformed("eval", "nonsense"))
    assert session.unsettled == 4, "it is answered already"
    session.settle(2, Stats(()))
    assert session.unsettled == 4
    session.settle(1, Accept())
    assert session.unsettled == 0


def test_a_rejection_quotes_only_so_much(session):
    ordinary, long = "x" * 1000, "x" * 2**20
    session.receive(A, OLD)
    assert session.settle(1, Reject(ordinary)) == [Send(A, Reject(ordinary))]
    session.receive(A, OLD)
    assert session.settle(2, Reject(long)) == [Send(A, Reject(ordinary + "..."))]
