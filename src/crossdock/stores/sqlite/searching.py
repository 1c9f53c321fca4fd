"""Turns a query for jobs into SQL that an index can answer page by page.

An index gives rows in the order of ids only for one value of what it starts with. So a query for several states is asked
once per state, and the pages are merged: no query has to sort more than a page. Which condition leads is fixed here, because
SQLite keeps no statistics of a table that changes all the time: the others are written with a plus, which hides them from
the planner.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from crossdock.core.lifecycle import State
from crossdock.core.requests import Query
from crossdock.stores.sqlite.queries import QUERIES
from crossdock.stores.sqlite.rows import word


class Statement(NamedTuple):
    """SQL and its parameters."""

    sql: str
    parameters: list[Any]


class _Where:
    """Conditions that all have to hold, with their parameters."""

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.parameters: list[Any] = []

    def add(self, term: str, *parameters: Any) -> None:
        self.terms.append(term)
        self.parameters.extend(parameters)

    def add_if(self, term: str, parameter: Any) -> None:
        if parameter is not None:
            self.add(term, parameter)

    def one_of(self, column: str, values: tuple[str, ...]) -> None:
        if values:
            self.add(f"{column} IN ({', '.join('?' * len(values))})", *values)


def statements(query: Query, now: float) -> Iterator[Statement]:
    """Yield the statements whose merged results are the page and one job more.

    Args:
        query: what to look for.
        now: seconds since 1970, the end of runs that have not ended.
    """
    direction = "ASC" if query.ascending else "DESC"
    text = QUERIES["search"].replace("{direction}", direction)
    for lead, parameters in _leads(query):
        where = _Where()
        where.add(lead, *parameters)
        where.add_if("id > ?" if query.ascending else "id < ?", query.cursor)
        _filter(where, query, now)
        yield Statement(text.replace("{where}", " AND ".join(where.terms)), [*where.parameters, query.limit + 1])


def _leads(query: Query) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the condition that leads, once per value it may have."""
    states = dict.fromkeys(word(state) for state in (query.states or State))
    if query.batch is not None:
        yield "batch = ?", (query.batch,)
    elif query.tenant:
        yield from (("tenant <> '' AND tenant = ? AND state = ?", (query.tenant, state)) for state in states)
    elif query.states:
        yield from (("state = ?", (state,)) for state in states)
    elif query.kinds:
        yield from (("kind = ?", (kind,)) for kind in dict.fromkeys(query.kinds))
    else:
        yield "id > 0", ()


def _filter(where: _Where, query: Query, now: float) -> None:
    """Add every condition again, hidden from the planner; saying twice what leads costs nothing."""
    where.one_of("+state", tuple(word(state) for state in query.states))
    where.one_of("+kind", query.kinds)
    where.add_if("+tenant = ?", query.tenant)
    where.add_if("code = ?", query.code)
    where.add_if("created >= ?", query.created_from)
    where.add_if("created <= ?", query.created_to)
    if query.min_duration is not None:
        where.add("coalesce(finished, ?) - started >= ?", now, query.min_duration)
    if query.max_duration is not None:
        where.add("coalesce(finished, ?) - started <= ?", now, query.max_duration)
