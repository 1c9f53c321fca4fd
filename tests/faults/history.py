"""What happened in a run, and the checker: one line for each clause of what Crossdock promises (docs/concepts/promises.md).

The checker knows nothing of servers. It is itself tested, with made-up histories and with servers that have a bug planted.
"""

from collections import defaultdict
from dataclasses import dataclass, field

ENDS = {"successful", "failed", "dismissed"}


@dataclass
class History:
    """A run as clients saw it.

    ``attempted``: keys that were sent. ``accepted``: job ids acknowledged per key. ``seen``: every end of a job that a
    client was shown while the run went on, as (state, result). ``told``: states in the notifications a client received,
    by job; ``told_of``: the same by key, as they come in. After a drain: ``final`` is (state, result) of every listed
    job, ``keys`` the key each job was made from, ``endings`` the number of terminal entries in its event log, and ``left``
    the processes that outlived the server.
    """

    attempted: set[str] = field(default_factory=set)
    accepted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seen: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    told: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    told_of: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    final: dict[str, tuple[str, str]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    endings: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def violations(history: History) -> list[str]:
    """Return what was broken, as sentences; an empty list is a good run."""
    return [*_submits(history), *_ends(history), *_notifications(history), *_leftovers(history)]


def _submits(history: History) -> list[str]:
    found: list[str] = []
    for key, jobs in history.accepted.items():
        if len(jobs) > 1:
            found.append(f"one key, several jobs: {key} became {sorted(jobs)}")
        found += [f"lost: {job} was acknowledged for {key}" for job in jobs if history.keys.get(job) != key]
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for job, key in history.keys.items():
        by_key[key].append(job)
    found += [f"one key, several jobs: {key} is {jobs}" for key, jobs in by_key.items() if len(jobs) > 1]
    found += [f"unexpected: nobody submitted {key}" for key in by_key if key not in history.attempted]
    return found


def _ends(history: History) -> list[str]:
    found: list[str] = []
    for job, (state, result) in history.final.items():
        if state not in ENDS:
            found.append(f"no end: {job} is {state}")
        elif history.endings.get(job) != 1:
            found.append(f"not one end: the log of {job} has {history.endings.get(job)}")
        contradicting = history.seen[job] - {(state, result)}
        if contradicting:
            found.append(f"two ends: {job} is {(state, result)} but a client was shown {sorted(contradicting)}")
    return found


def _notifications(history: History) -> list[str]:
    found: list[str] = []
    for job, (state, _) in history.final.items():
        told = history.told.get(job, [])
        if not told and state in ENDS:
            found.append(f"never notified: {job}")
        if set(told) - {state}:
            found.append(f"notified otherwise: {job} is {state}, a client was told {sorted(set(told))}")
    return found


def _leftovers(history: History) -> list[str]:
    return [f"left behind: {process}" for process in history.left]
