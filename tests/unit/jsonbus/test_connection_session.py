"""The machine of one connection: transcripts without a broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.connection_session import (
    Connect,
    ConnectionSession,
    GiveUp,
    Plan,
    Sleep,
    State,
    Watch,
)

AWAY = CrossdockError(Code.UNAVAILABLE, "nobody listens")
WRONG = CrossdockError(Code.UNAUTHORIZED, "wrong password")
PLAN = Plan(least=1.0, factor=2.0, most=8.0, steady=10.0)


def session(*, wait: bool = False) -> ConnectionSession:
    return ConnectionSession(wait=wait, plan=PLAN)


def up(*, now: float = 0.0) -> ConnectionSession:
    machine = session()
    machine.due()
    machine.opened(now)
    return machine


def test_a_connection_is_made_used_lost_and_made_again():
    machine = session()
    assert machine.starting
    assert machine.due() == Connect()
    assert machine.opened(0.0) == Watch()
    assert (machine.state, machine.usable, machine.starting) == (State.UP, True, False)
    assert machine.lost(AWAY, now=20.0, chance=1.0) == Sleep(1.0)
    assert (machine.state, machine.usable, machine.error) == (State.DOWN, False, AWAY)
    assert machine.due() == Connect()
    assert machine.opened(21.0) == Watch()
    assert machine.error is None


@pytest.mark.parametrize(
    ("wait", "lasting", "gives_up"), [(False, False, True), (False, True, True), (True, True, True), (True, False, False)]
)
def test_the_first_try_says_what_waiting_cannot_mend(wait, lasting, gives_up):
    machine = session(wait=wait)
    machine.due()
    error = WRONG if lasting else AWAY
    assert machine.failed(error, 1.0, lasting=lasting) == (GiveUp(error) if gives_up else Sleep(1.0))


def test_later_tries_never_give_up_even_if_the_password_was_changed():
    machine = up()
    machine.lost(AWAY, now=1.0, chance=0.0)
    machine.due()
    assert isinstance(machine.failed(WRONG, 0.0, lasting=True), Sleep)
    assert machine.error is WRONG


def test_waiting_grows_up_to_a_limit():
    machine = up()
    waits = [machine.lost(AWAY, now=0.0, chance=1.0)]
    for _ in range(5):
        machine.due()
        waits.append(machine.failed(AWAY, 1.0, lasting=False))
    assert [step.seconds for step in waits] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_connection_that_lasted_starts_anew_and_one_that_breaks_at_once_does_not():
    machine = up()
    waits = []
    for lasted in (1.0, 1.0, 9.9, 10.0, 1.0):
        waits.append(machine.lost(AWAY, now=lasted, chance=1.0).seconds)
        machine.due()
        machine.opened(0.0)
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]


def test_blocked_is_usable_and_says_why():
    machine = up()
    machine.blocked("low on memory")
    assert (machine.state, machine.usable, machine.reason) == (State.BLOCKED, True, "low on memory")
    machine.blocked("low on disk")
    assert machine.reason == "low on disk"
    machine.unblocked()
    assert (machine.state, machine.reason) == (State.UP, "")
    machine.blocked("low on memory")
    machine.lost(AWAY, now=1.0, chance=0.0)
    assert (machine.state, machine.reason) == (State.DOWN, "")


def test_what_is_not_in_the_table_is_a_bug_of_the_driver():
    for call in (
        lambda: session().opened(0.0),
        lambda: session().blocked("why"),
        lambda: up().due(),
        lambda: up().unblocked(),
        lambda: up().failed(AWAY, 0.0, lasting=False),
    ):
        with pytest.raises(KeyError):
            call()


def test_one_can_leave_at_any_time_and_nothing_follows():
    for machine in (session(), up()):
        machine.close()
        machine.close()
        assert machine.state is State.CLOSING
        with pytest.raises(KeyError):
            machine.due()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_every_wait_lies_between_half_and_all_of_the_plan(chances):
    machine = up()
    step = machine.lost(AWAY, now=0.0, chance=chances[0])
    for tries, chance in enumerate(chances):
        whole = min(PLAN.most, PLAN.least * PLAN.factor**tries)
        if tries:
            machine.due()
            step = machine.failed(AWAY, chance, lasting=False)
        assert whole / 2 <= step.seconds <= whole
