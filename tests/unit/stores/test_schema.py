"""Migrations: a database of any earlier version becomes what a new one is, or is left as it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from brokers import House
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.log import whole
from crossdock.core.requests import Note
from crossdock.stores.sqlite.schema import MIGRATIONS, migrate
from crossdock.stores.sqlite.store import SqliteStore

PLACE = Path("store.db")
VERSION_1 = Path(__file__).with_name("version_1.sql")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def schema(db: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Return what there is, without regard to how its SQL is laid out, with the columns of tables and indexes."""
    things = db.execute("SELECT type, name FROM sqlite_master ORDER BY type, name").fetchall()
    return [
        (type_, name, *(str(row[1:]) for row in db.execute(f'PRAGMA {type_}_xinfo("{name}")'))) for type_, name in things
    ]


def test_a_database_of_version_1_becomes_what_a_new_one_is(db: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as old:
        old.executescript(VERSION_1.read_text())
        before = {table: old.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("jobs", "records")}
        migrate(old, PLACE)
        migrate(db, PLACE)
        assert schema(old) == schema(db)
        assert {table: old.execute(f"SELECT count(*) FROM {table}").fetchone() for table in before} == before


async def test_jobs_of_version_1_are_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / PLACE, isolation_level=None)) as old:
        old.executescript(VERSION_1.read_text())
    store = SqliteStore(tmp_path / PLACE)
    boot = await store.open()
    (job,) = await store.jobs([1])
    assert (boot.epoch, boot.last_job, boot.last_notification) == (4, 9, 2)
    assert (job.kind, job.payload, job.requirements, job.state) == ("echo", b'{"a": 1}', (("kind", "echo"),), "succeeded")
    assert (job.after, job.result) == ((7, 8), b"[1]")
    log = whole(job, await store.entries(1, 0, 9), 0, 9)
    assert [entry.event for entry in log] == ["submitted", "leased", "succeeded"]
    await store.close()


async def test_a_log_that_an_earlier_version_wrote_goes_on(tmp_path: Path) -> None:
    """Until version 3 everything was written, also what the snapshot of a job tells by itself."""
    house = House(reopen=lambda: SqliteStore(tmp_path / PLACE))
    await house.open()
    await house.attach()
    running, ended, queued = [await house.submit() for _ in range(3)]
    lease = await house.lease()
    await house.report(await house.lease())
    await house.crash()
    wrote = {running: ("submitted", "leased"), ended: ("submitted", "leased", "succeeded"), queued: ("submitted",)}
    with closing(sqlite3.connect(tmp_path / PLACE, isolation_level=None)) as old:
        rows = [(job.id, *entry) for job, events in wrote.items() for entry in enumerate(events)]
        old.executemany("INSERT INTO entries VALUES (?, ?, 1, ?, NULL)", rows)
        old.execute("PRAGMA user_version = 3")
    await house.open()
    await house.attach(tokens=[lease.token], slots=2)
    await house.broker.dispatch.note(lease.token, Note(log="half"))
    await house.lease()
    await house.calm()
    assert await house.events(running) == ["submitted", "leased", "log"]
    assert await house.events(ended) == ["submitted", "leased", "succeeded"]
    assert await house.events(queued) == ["submitted", "leased"]
    await house.crash()


def test_migrating_twice_does_nothing(db: sqlite3.Connection) -> None:
    migrate(db, PLACE)
    before = db.execute("PRAGMA schema_version").fetchone()
    migrate(db, PLACE)
    assert db.execute("PRAGMA schema_version").fetchone() == before


def test_only_what_lacks_is_run(db: sqlite3.Connection) -> None:
    migrate(db, PLACE)
    migrate(db, PLACE, [*MIGRATIONS, "CREATE TABLE more (a);"])
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert db.execute("SELECT count(*) FROM more").fetchone() == (0,)


def test_a_migration_that_fails_changes_nothing(db: sqlite3.Connection) -> None:
    migrate(db, PLACE)
    before = schema(db)
    with pytest.raises(sqlite3.Error):
        migrate(db, PLACE, [*MIGRATIONS, "CREATE TABLE more (a); DROP TABLE entries; SELECT * FROM nothing;"])
    assert schema(db) == before
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert not db.in_transaction


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / PLACE)
    await store.open()
    await store.close()
    with closing(sqlite3.connect(tmp_path / PLACE, isolation_level=None)) as newer:
        newer.execute("PRAGMA user_version = 999")
    with pytest.raises(CrossdockError, match="has schema 999, written by a newer Crossdock") as caught:
        await store.open()
    assert caught.value.code is Code.UNAVAILABLE
    with closing(sqlite3.connect(tmp_path / PLACE)) as newer:
        assert newer.execute("PRAGMA user_version").fetchone() == (999,)
        assert newer.execute("SELECT epoch FROM meta").fetchone() == (1,)


def test_a_database_of_another_program_is_refused(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE recipes (name)")
    with pytest.raises(CrossdockError, match="another program"):
        migrate(db, PLACE)


def test_released_migrations_stay_as_they_were() -> None:
    """The fixture was written by the first release; if this fails, add a migration instead of changing one."""
    with closing(sqlite3.connect(":memory:")) as old, closing(sqlite3.connect(":memory:", isolation_level=None)) as now:
        old.executescript(VERSION_1.read_text())
        migrate(now, PLACE, MIGRATIONS[:1])
        assert schema(old) == schema(now)
