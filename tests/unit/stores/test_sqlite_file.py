"""The SQLite store as a file: who may open it, what a full disk does, and what a broken one does."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.core.changes import Admission, Group
from crossdock.core.errors import Code, CrossdockError, StoreBroken, StoreFull
from crossdock.core.jobs import Job
from crossdock.core.requests import Query
from crossdock.stores.sqlite import writer
from crossdock.stores.sqlite.pace import MANY
from crossdock.stores.sqlite.store import SqliteStore

HOLDER = """
import asyncio, sys
from pathlib import Path
from crossdock.core.changes import Admission, Group
from crossdock.core.jobs import Job
from crossdock.stores.sqlite.store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.commit(Group(admissions=[Admission([Job(id=1, kind="echo", payload=b"{}", created=1.0)])]))
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""

NO_SPACE = """
import asyncio, resource, sys
from pathlib import Path
from crossdock.core.changes import Admission, Group
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Job
from crossdock.stores.sqlite.store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    at_once = int(sys.argv[2])
    for first in range(1, 1000, at_once):
        numbers = range(first, first + at_once)
        try:
            jobs = [Job(id=number, kind="echo", payload=b"x" * 4000, created=1.0) for number in numbers]
            await store.commit(Group(admissions=[Admission(jobs)]))
        except CrossdockError as error:
            print(type(error).__name__, flush=True)
            break
        print(*numbers, flush=True)

asyncio.run(main())
"""


def job(id_: int, payload: bytes = b"{}") -> Job:
    return Job(id=id_, kind="echo", payload=payload, created=1.0)


def admitted(*jobs: Job) -> Group:
    return Group(admissions=[Admission(list(jobs))])


async def ids(store: SqliteStore) -> list[int]:
    return [one.id for one in (await store.search(Query(limit=10_000, ascending=True))).jobs]


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


@contextlib.contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that has the store open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# Who may open it


async def test_a_second_process_is_told_who_has_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with holder(path) as process:
        with pytest.raises(CrossdockError, match=rf"store\.db is in use by process {process.pid}\b") as caught:
            await SqliteStore(path).open()
        assert caught.value.code is Code.CONFLICT


async def test_a_killed_holder_leaves_no_lock_and_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = SqliteStore(path)
        boot = await store.open()
        assert (boot.epoch, boot.last_job) == (2, 1)
        assert await ids(store) == [1]
        await store.close()


async def test_closing_gives_the_store_to_the_next(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
    await first.open()
    with pytest.raises(CrossdockError):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


async def test_the_log_is_emptied_at_a_close(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))
    await store.close()
    assert names(tmp_path) == {"store.db", "store.db.lock"}


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    for act in (store.commit(admitted(job(1))), store.jobs([1])):
        with pytest.raises(CrossdockError, match="is not open"):
            await act


async def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CrossdockError, match=r"file/store\.db cannot be used") as caught:
        await SqliteStore(tmp_path / "file" / "store.db").open()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_foreign_writer_only_delays(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        committing = asyncio.create_task(store.commit(admitted(job(1))))
        await asyncio.sleep(0)
        assert not committing.done()
        assert await ids(store) == []
        foreign.execute("ROLLBACK")
        await committing
    assert await ids(store) == [1]
    await store.close()


async def test_a_foreign_writer_is_reported_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_LOCKED_SECONDS", 0.1)
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(CrossdockError, match="another program has locked") as caught:
            await store.commit(admitted(job(1)))
        assert caught.value.code is Code.UNAVAILABLE
        assert await ids(store) == []
        foreign.execute("ROLLBACK")
    await store.commit(admitted(job(1)))
    assert await ids(store) == [1]
    await store.close()


def test_only_the_three_known_ways_to_synchronise_exist(tmp_path: Path) -> None:
    with pytest.raises(CrossdockError) as caught:
        SqliteStore(tmp_path / "store.db", synchronous="full")  # pyright: ignore[reportArgumentType]
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(("word", "number"), [("FULL", 2), ("NORMAL", 1), ("OFF", 0)])
async def test_the_knob_reaches_sqlite(tmp_path: Path, word: str, number: int) -> None:
    store = SqliteStore(tmp_path / "store.db", synchronous=word)  # pyright: ignore[reportArgumentType]
    await store.open()
    assert await store._database.write(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (number,)
    assert await store._database.write(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    await store.close()


# Full and broken disks


@pytest.mark.fault
async def test_without_space_nothing_of_a_group_is_written_and_it_works_again_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))
    await store._database.write(lambda db: db.execute("PRAGMA max_page_count = 60").fetchone())
    with pytest.raises(StoreFull):
        await store.commit(admitted(job(2), *(job(number, b"x" * 4000) for number in range(3, 200))))
    assert await ids(store) == [1]
    await store._database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    await store.commit(admitted(job(2)))
    assert await ids(store) == [1, 2]
    await store.close()


@pytest.mark.fault
@pytest.mark.parametrize("at_once", [1, MANY])
def test_what_was_acknowledged_before_a_write_failed_is_there(tmp_path: Path, at_once: int) -> None:
    path = tmp_path / "store.db"
    *acknowledged, error = subprocess.run(
        [sys.executable, "-c", NO_SPACE, str(path), str(at_once)], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert error in ("StoreBroken", "StoreFull")
    assert len(acknowledged) > 5
    found, integrity = asyncio.run(inspect(path))
    assert found[: len(acknowledged)] == [int(number) for number in acknowledged]
    assert integrity == [("ok",)]


async def inspect(path: Path) -> tuple[list[int], list[tuple[str]]]:
    store = SqliteStore(path)
    await store.open()
    try:
        return await ids(store), store._database.read("PRAGMA integrity_check")
    finally:
        await store.close()


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
@pytest.mark.parametrize("at_once", [1, MANY])
def test_a_full_disk_is_refused_and_survived(tmp_path: Path, at_once: int) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=10m", "none", tmp_path], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        asyncio.run(fill_and_free(tmp_path, at_once))
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


async def fill_and_free(place: Path, at_once: int) -> None:
    store = SqliteStore(place / "store.db")
    await store.open()
    acknowledged = list[int]()
    for round_ in range(5):
        ballast = place / "ballast"
        ballast.write_bytes(b"x" * (os.statvfs(place).f_bavail * 4096 - 300_000))
        with pytest.raises(StoreFull):
            await fill(store, 1 + round_ * 1000, at_once, acknowledged)
        assert await ids(store) == acknowledged
        ballast.unlink()
    await store.commit(admitted(job(9999)))
    await store.close()
    assert await inspect(place / "store.db") == ([*acknowledged, 9999], [("ok",)])


async def fill(store: SqliteStore, first: int, at_once: int, acknowledged: list[int]) -> None:
    for start in range(first, first + 1000, at_once):
        numbers = range(start, start + at_once)
        await store.commit(admitted(*(job(number, b"x" * 3000) for number in numbers)))
        acknowledged += numbers


@pytest.mark.fault
async def test_after_a_failed_write_every_call_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))

    def fail(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with pytest.raises(StoreBroken):
        await store._database.write(fail)
    for act in (store.commit(admitted(job(2))), store.jobs([1]), store.sweep([], 0.0)):
        with pytest.raises(StoreBroken):
            await act
    await store.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter to my aunt" * 1000)
    with pytest.raises(StoreBroken, match="not a database"):
        await SqliteStore(tmp_path / "store.db").open()


# Inline or in the thread


async def test_a_slow_disk_moves_commits_to_the_thread_and_nothing_else_changes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    store._database._writer._pace.record(1.0)
    await asyncio.gather(*(store.commit(admitted(job(number))) for number in range(1, 200)))
    assert await ids(store) == list(range(1, 200))
    store._database._writer._pace.record(1.0)
    with pytest.raises(CrossdockError) as caught:
        await store.commit(admitted(job(1)))
    assert caught.value.code is Code.CONFLICT
    await store.close()


LARGE = admitted(*map(job, range(1, MANY + 1)))


@contextlib.contextmanager
def held(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Let commits in the thread wait; the event tells that one does. They go on at the end."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop, held_writer = asyncio.get_running_loop(), store._database._writer
    assert held_writer is not None
    end = held_writer._end

    def wait() -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30)
        end()

    with monkeypatch.context() as patch:
        patch.setattr(held_writer, "_end", wait)
        try:
            yield begun
        finally:
            go_on.set()


async def test_the_event_loop_goes_on_while_a_large_commit_waits_for_the_disk(tmp_path, monkeypatch) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    with held(store, monkeypatch) as begun:
        writing = asyncio.create_task(store.commit(LARGE))
        await begun.wait()
        assert await ids(store) == []
        assert not writing.done()
    await writing
    assert await ids(store) == list(range(1, MANY + 1))
    await store.close()


async def test_a_large_commit_comes_to_its_end_though_who_waits_for_it_gives_up(tmp_path, monkeypatch) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    with held(store, monkeypatch) as begun:
        writing = asyncio.create_task(store.commit(LARGE))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        following = asyncio.create_task(store.commit(admitted(job(100))))
    await following
    assert await ids(store) == [*range(1, MANY + 1), 100]
    await store.close()


async def test_a_large_commit_does_not_wait_for_what_waits_for_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    go_on = threading.Event()
    before = asyncio.get_running_loop().run_in_executor(store._database._writer._thread, go_on.wait, 30)
    aside = asyncio.create_task(store._database.write(lambda db: db.execute("DELETE FROM batches"), aside=True))
    await asyncio.sleep(0)
    committing = asyncio.create_task(store.commit(LARGE))
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(30):
        await asyncio.gather(before, committing, aside)
    await store.close()


async def test_a_large_commit_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(MANY)))
    with pytest.raises(CrossdockError) as caught:
        await store.commit(LARGE)
    assert caught.value.code is Code.CONFLICT
    assert await ids(store) == [MANY]
    await store.commit(admitted(*map(job, range(100, 100 + MANY))))
    await store.close()


async def test_reads_do_not_wait_for_a_commit_in_the_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))
    started, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM jobs")
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    writing = asyncio.create_task(store._database.write(slow, aside=True))
    await started.wait()
    assert await ids(store) == [1]
    go_on.set()
    await writing
    assert await ids(store) == []
    await store.close()


async def test_an_endless_listing_stops_neither_the_event_loop_nor_a_close(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))
    database, loop, begun = store._database, asyncio.get_running_loop(), asyncio.Event()
    assert database._lister is not None
    database._lister.create_function("begun", 0, lambda: loop.call_soon_threadsafe(begun.set) and 0)
    endless = "WITH RECURSIVE n(i) AS (SELECT begun() UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n"
    listing = asyncio.create_task(database.survey([(endless, ())]))
    await begun.wait()
    assert [one.id for one in await store.jobs([1])] == [1]
    await store.commit(admitted(job(2)))
    assert not listing.done()
    await store.close()
    with pytest.raises(CrossdockError) as caught:
        await listing
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_listing_shows_one_moment(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    await store.commit(admitted(job(1)))
    database, loop = store._database, asyncio.get_running_loop()
    assert database._lister is not None

    def commit_another() -> int:
        asyncio.run_coroutine_threadsafe(store.commit(admitted(job(2))), loop).result()
        return 1

    database._lister.create_function("commit_another", 0, commit_another)
    count = "SELECT count(*) FROM jobs"
    assert await database.survey([(count, ()), ("SELECT commit_another()", ()), (count, ())]) == [[(1,)], [(1,)], [(1,)]]
    assert await database.survey([(count, ())]) == [[(2,)]]
    await store.close()
