"""The life of a job, as one table.

A job is in exactly one :class:`State`. Whatever happens to it is one :class:`Event`. ``TRANSITIONS`` says which event is
possible in which state and where it leads; a pair that is not in the table cannot happen, so absence is the rule.

Three facts are not visible in the table and hold everywhere:

* **Fencing.** Events that a worker reports (``FENCED``) count only with the newest token issued for the job. The token of
  an ended lease stays the newest until the job is leased again, which is why a late success is accepted in ``ready`` and
  ``waiting``: nobody else has started the job yet, and the work is done.
* **Cancelling is a flag.** A leased job that should stop keeps its state (``REQUEST_CANCEL``) until its worker confirms,
  or until the grace period ends.
* **Terminal means terminal.** No event leaves a terminal state. Running a dead job again makes a new job that names the
  old one in ``retry_of``.

The same table guards every write of a store (``WHERE state IN sources(event)``), draws the diagram in the documentation
and generates the exhaustive test grid.
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a job is. The values are the words used in SQL, in the CLI and on the wire of ``ogc`` extensions."""

    WAITING = "waiting"
    READY = "ready"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a job after it was submitted. The values are the names of entries in the event log."""

    DUE = "due"
    LEASE = "leased"
    NOTE = "noted"
    SUCCEED = "succeeded"
    FAIL = "failed"
    RETRY = "retrying"
    RELEASE = "released"
    REQUEST_CANCEL = "cancel_requested"
    CANCEL = "cancelled"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.WAITING: {
        Event.DUE: State.READY,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
    },
    State.READY: {
        Event.LEASE: State.LEASED,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.CANCEL: State.CANCELLED,
    },
    State.LEASED: {
        Event.NOTE: State.LEASED,
        Event.REQUEST_CANCEL: State.LEASED,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.RETRY: State.WAITING,
        Event.RELEASE: State.READY,
        Event.CANCEL: State.CANCELLED,
    },
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.CANCELLED: {},
}

INITIAL: Final = frozenset({State.WAITING, State.READY})
TERMINAL: Final = frozenset(state for state, events in TRANSITIONS.items() if not events)
FENCED: Final = frozenset({Event.NOTE, Event.SUCCEED, Event.RETRY, Event.RELEASE})

_SOURCES: Final = {event: frozenset(s for s in State if event in TRANSITIONS[s]) for event in Event}


def target(state: State, event: Event) -> State | None:
    """Return the state that ``event`` leads to from ``state``, or None if it cannot happen there."""
    return TRANSITIONS[state].get(event)


def sources(event: Event) -> frozenset[State]:
    """Return the states in which ``event`` is possible."""
    return _SOURCES[event]


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in State if state in INITIAL]
    for state, events in TRANSITIONS.items():
        lines += [f"    {state} --> {to}: {event}" for event, to in events.items()]
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines) + "\n"
