"""The table of transitions."""

from crossdock.core.lifecycle import FENCED, INITIAL, TERMINAL, TRANSITIONS, Event, State, mermaid, sources, target

ANY = (("kind", "work"),)


def test_the_table_says_what_its_summaries_say():
    for event in Event:
        assert sources(event) == {state for state in State if target(state, event) is not None}
    assert (
        {state for state in State if not TRANSITIONS[state]} == TERMINAL == {State.SUCCEEDED, State.FAILED, State.CANCELLED}
    )
    assert set(TRANSITIONS) == set(State)
    assert not INITIAL & TERMINAL


def test_every_state_can_be_reached_and_every_live_one_can_end():
    reached = set(INITIAL)
    while more := {to for state in reached for to in TRANSITIONS[state].values()} - reached:
        reached |= more
    assert reached == set(State)
    for state in set(State) - TERMINAL:
        assert set(TRANSITIONS[state].values()) >= TERMINAL


def test_only_a_lease_leads_to_leased_and_what_workers_say_of_a_running_job_is_fenced():
    into = {event for state in State for event, to in TRANSITIONS[state].items() if to is State.LEASED and state is not to}
    assert into == {Event.LEASE}
    assert {Event.NOTE, Event.SUCCEED, Event.RETRY, Event.RELEASE} == FENCED


def test_the_diagram_has_a_line_for_every_transition():
    lines = mermaid().splitlines()
    arrows = sum(len(events) for events in TRANSITIONS.values())
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == 1 + len(INITIAL) + arrows + len(TERMINAL)
    assert "    leased --> waiting: retrying" in lines
