"""Query plans: no query that a start, a sweep or a listing makes reads a whole table, and none sorts one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from crossdock.core.lifecycle import Event, State, sources
from crossdock.core.requests import Query
from crossdock.stores.sqlite.queries import QUERIES, parse
from crossdock.stores.sqlite.schema import migrate
from crossdock.stores.sqlite.searching import statements
from crossdock.stores.sqlite.writing import _update

COLUMNS = ("job_columns", "pending_columns")
UPDATES = ("update_job", "update_begun_job", "update_ended_job")
TEMPLATES = (*UPDATES, "search")
BY_LIST = ("jobs",)
WHOLE = ("next_epoch", "boot", "remember_job", "remember_notification", "greatest_notification")
"""Queries of the one row of ``meta``, and of the ends of indexes."""


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path())
        yield connection


def plan(db: sqlite3.Connection, sql: str) -> list[str]:
    places = sql.count("?") if "?1" not in sql else len({sql[at + 1] for at, sign in enumerate(sql) if sign == "?"})
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * places)]


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - {*COLUMNS, *TEMPLATES, *BY_LIST, *WHOLE}))
def test_no_query_scans_or_sorts(db: sqlite3.Connection, name: str) -> None:
    for step in plan(db, QUERIES[name]):
        assert not step.startswith("SCAN"), step
        assert "TEMP B-TREE" not in step, step


@pytest.mark.parametrize("name", ["pending", "expired", "by_key", "delete_empty_batch", "digests_of_job", "delete_blocks"])
def test_what_has_an_index_uses_it(db: sqlite3.Connection, name: str) -> None:
    index = {
        "pending": "jobs_state (state=? AND rowid>?)",
        "expired": "jobs_expires (expires<?)",
        "by_key": "jobs_key (tenant=? AND key=?)",
        "delete_empty_batch": "jobs_batch (batch=?)",
        "digests_of_job": "artifact_uses_job (job=?)",
        "delete_blocks": "blocks_segment (job=?)",
    }[name]
    assert any(index in step for step in plan(db, QUERIES[name])), plan(db, QUERIES[name])


@pytest.mark.parametrize("name", BY_LIST)
def test_jobs_of_a_list_are_found_by_their_ids(db: sqlite3.Connection, name: str) -> None:
    assert plan(db, QUERIES[name])[0] == "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"


@pytest.mark.parametrize("name", WHOLE)
def test_the_others_read_one_row_or_the_end_of_an_index(db: sqlite3.Connection, name: str) -> None:
    assert all(step.startswith(("SCAN meta", "SEARCH", "SCALAR SUBQUERY")) for step in plan(db, QUERIES[name]))


@pytest.mark.parametrize(("query", "event"), list(product(UPDATES, Event)))
def test_a_change_finds_its_job_by_its_id(db: sqlite3.Connection, query: str, event: Event) -> None:
    assert plan(db, _update(query, sources(event))) == ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"]


STATES = ((), (State.READY,), (State.READY, State.LEASED))
KINDS = ((), ("a",), ("a", "b"))


@pytest.mark.parametrize(("states", "kinds", "tenant", "batch"), list(product(STATES, KINDS, (None, "", "t"), (None, 1))))
@pytest.mark.parametrize("cursor", [None, 5])
@pytest.mark.parametrize("ascending", [False, True])
def test_a_listing_reads_rows_in_order_through_an_index(
    db: sqlite3.Connection,
    states: tuple[State, ...],
    kinds: tuple[str, ...],
    tenant: str | None,
    batch: int | None,
    cursor: int | None,
    ascending: bool,
) -> None:
    query = Query(states=states, kinds=kinds, tenant=tenant, batch=batch, cursor=cursor, ascending=ascending, code="x")
    if batch is not None:
        expected = "jobs_batch (batch=?"
    elif tenant:
        expected = "jobs_tenant (tenant=? AND state=?"
    elif states:
        expected = "jobs_state (state=?"
    elif kinds:
        expected = "jobs_kind (kind=?"
    else:
        expected = "PRIMARY KEY (rowid"
    for statement in statements(query, 0.0):
        (step,) = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters)]
        assert step.startswith("SEARCH")
        assert expected in step
        assert cursor is None or "rowid" in step


def test_a_block_may_stand_in_another() -> None:
    text = "-- a comment\n-- name: columns\na, b\n\n-- name: all\nSELECT {columns}\nFROM t WHERE {where};\n"
    assert parse(text) == {"columns": "a, b", "all": "SELECT a, b\nFROM t WHERE {where}"}
