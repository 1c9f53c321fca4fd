"""What every implementation of the ``Store`` port finds: jobs to queue at a start, pages of listings, jobs to delete."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product

import pytest
from msgspec.structs import asdict, replace

from crossdock.core.changes import Admission, ArrayImage, Block, Group, MemberResult, Pending, Segment, Transition
from crossdock.core.jobs import ArraySpec, ArtifactRef, Job, Tally
from crossdock.core.lifecycle import TERMINAL, Event, State, sources
from crossdock.core.policy import Overrides
from crossdock.core.ports import Store
from crossdock.core.requests import Entry, Notification, Query, Record

NOW = 1_700_000_000.0
Restart = Callable[[Store], Awaitable[Store]]


def job(id_: int, **changes: object) -> Job:
    return replace(Job(id=id_, kind="echo", payload=b"{}", created=float(id_)), **changes)


def ref(number: int) -> ArtifactRef:
    return ArtifactRef(f"{number:064x}", 10)


async def admit(store: Store, *jobs: Job, batch: tuple[int, str, int] | None = None) -> None:
    entries = [Entry(one.id, 0, one.created, "submitted") for one in jobs]
    await store.commit(Group(admissions=[Admission(list(jobs), [], batch)], entries=entries))


# What a start has to queue


async def test_pending_is_what_has_not_ended_in_order_of_id(store: Store) -> None:
    await admit(
        store, *(job(10 + number, state=state) for number, state in enumerate(State)), job(3), job(1, state=State.WAITING)
    )
    ids = [1, 3, *(10 + number for number, state in enumerate(State) if state not in TERMINAL)]
    assert [one.id for one in await store.pending(0, 100)] == ids
    assert [one.id for one in await store.pending(1, 2)] == ids[1:3]
    assert await store.pending(ids[-1], 10) == []


async def test_pending_says_what_queueing_needs(store: Store) -> None:
    plain = job(1, kind="k", requirements=(("kind", "k"),), priority=4, tenant="t", due=7.5, state=State.WAITING)
    timed = job(2, overrides=Overrides(queue_timeout=1.0, total_timeout=2.0))
    await admit(store, plain, timed)
    first, second = await store.pending(0, 10)
    shared = {name: value for name, value in asdict(plain).items() if name in Pending.__struct_fields__}
    assert first == Pending(**shared, queue_timeout=None, total_timeout=None, special=False)
    assert (second.queue_timeout, second.total_timeout, second.special) == (1.0, 2.0, False)


@pytest.mark.parametrize(
    ("changes", "special"),
    [({}, False), ({"state": State.LEASED}, True), ({"after": (9,)}, True), ({"array": ArraySpec(count=2)}, True)],
)
async def test_jobs_that_have_to_be_read_whole_are_special(store: Store, changes: dict[str, object], special: bool) -> None:
    await admit(store, job(1, **changes))
    assert [one.special for one in await store.pending(0, 10)] == [special]


# Listings


def population() -> list[Job]:
    """Return jobs that have every combination of what listings filter by."""
    jobs: list[Job] = []
    for number, (state, kind, tenant) in enumerate(product(State, ("a", "b", "c"), ("", "t")), start=1):
        ended = state in TERMINAL
        started = None if state in (State.WAITING, State.READY) else NOW - 10.0 * number
        jobs.append(
            job(
                number * 100,
                kind=kind,
                tenant=tenant,
                state=state,
                batch=(None, 1, 2)[number % 3],
                created=NOW - 50 * (number % 7),
                started=started,
                finished=NOW - 5.0 if ended else None,
                code="broken" if state is State.FAILED and number % 2 else "",
            )
        )
    return jobs


@dataclass(frozen=True)
class Case:
    """A query, and what a job must be like to be found."""

    query: Query
    found: Callable[[Job], bool]


def lasted(one: Job) -> float:
    """Return how long the run of a job took or has taken so far, infinity if it has not begun."""
    return float("inf") if one.started is None else (one.finished or NOW) - one.started


CASES = {
    "all": Case(Query(), lambda _: True),
    "one state": Case(Query(states=(State.READY,)), lambda one: one.state is State.READY),
    "two states": Case(Query(states=(State.WAITING, State.READY)), lambda one: one.state in (State.WAITING, State.READY)),
    "a state twice": Case(Query(states=(State.READY, State.READY)), lambda one: one.state is State.READY),
    "kind": Case(Query(kinds=("a",)), lambda one: one.kind == "a"),
    "kinds": Case(Query(kinds=("a", "c", "a")), lambda one: one.kind in "ac"),
    "no such kind": Case(Query(kinds=("nothing",)), lambda _: False),
    "tenant": Case(Query(tenant="t"), lambda one: one.tenant == "t"),
    "the tenant without a name": Case(Query(tenant=""), lambda one: one.tenant == ""),
    "batch": Case(Query(batch=1), lambda one: one.batch == 1),
    "code": Case(Query(code="broken"), lambda one: one.code == "broken"),
    "created from": Case(Query(created_from=NOW - 150), lambda one: one.created >= NOW - 150),
    "created to": Case(Query(created_to=NOW - 150), lambda one: one.created <= NOW - 150),
    "at least this long": Case(Query(min_duration=205.0), lambda one: 205 <= lasted(one) < float("inf")),
    "at most this long": Case(Query(max_duration=205.0), lambda one: lasted(one) <= 205),
    "state and kind": Case(
        Query(states=(State.FAILED, State.LEASED), kinds=("b", "c")),
        lambda one: one.state in (State.FAILED, State.LEASED) and one.kind in "bc",
    ),
    "tenant, state and kind": Case(
        Query(tenant="t", states=(State.SUCCEEDED,), kinds=("a",)),
        lambda one: (one.tenant, one.state, one.kind) == ("t", State.SUCCEEDED, "a"),
    ),
    "everything": Case(
        Query(
            tenant="",
            batch=2,
            states=(State.FAILED, State.SUCCEEDED),
            kinds=("a", "b", "c"),
            created_from=NOW - 300,
            created_to=NOW,
            min_duration=1.0,
            max_duration=1e6,
        ),
        lambda one: one.tenant == "" and one.batch == 2 and one.state in (State.FAILED, State.SUCCEEDED),
    ),
}


@pytest.mark.parametrize("ascending", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_pages_together_are_exactly_what_matches(store: Store, case: Case, ascending: bool) -> None:
    jobs = population()
    await admit(store, *jobs)
    expected = [one for one in (jobs if ascending else reversed(jobs)) if case.found(one)]
    for limit in (1, 4, len(expected) or 1, 1000):
        found, cursor, pages = list[Job](), None, 0
        while pages == 0 or cursor is not None:
            page = await store.search(replace(case.query, limit=limit, cursor=cursor, ascending=ascending))
            assert len(page.jobs) <= limit
            found += page.jobs
            cursor, pages = page.cursor, pages + 1
        assert found == expected
        assert pages == max(1, -(-len(expected) // limit))


# Retention


async def test_expired_are_finished_jobs_whose_time_has_passed(store: Store) -> None:
    await admit(
        store,
        job(1, state=State.SUCCEEDED, expires=30.0),
        job(2, state=State.FAILED, expires=10.0),
        job(3, state=State.CANCELLED, expires=31.0),
        job(4, state=State.SUCCEEDED),
        job(5, state=State.LEASED, expires=10.0),
    )
    assert [one.id for one in await store.expired(30.0, 10)] == [2, 1]
    assert [one.id for one in await store.expired(30.0, 1)] == [2]
    assert await store.expired(9.0, 10) == []


async def test_a_job_of_which_a_notification_is_owed_is_kept(store: Store) -> None:
    await admit(store, job(1, state=State.SUCCEEDED, expires=10.0))
    owed = Notification(id=1, job=1, channel="c", address="a", event="succeeded", created=1.0, due=1.0)
    await store.commit(Group(notifications={1: owed}))
    assert await store.expired(30.0, 10) == []
    await store.commit(Group(delivered={1}))
    assert [one.id for one in await store.expired(30.0, 10)] == [1]


async def test_a_sweep_takes_all_that_hangs_on_a_job_and_nothing_else(store: Store) -> None:
    gone, kept = job(1, key="k", state=State.FAILED), job(2, key="l", state=State.FAILED)
    await admit(store, gone, kept)
    for one in (gone, kept):
        await store.commit(
            Group(
                segments={(one.id, 0): Segment(one.id, 0, b"", b"", b"", {})},
                blocks=[Block(one.id, 0, ())],
                notifications={
                    one.id: Notification(id=one.id, job=one.id, channel="c", address="a", event="e", created=0.0, due=0.0)
                },
            )
        )
    assert await store.sweep([gone], 0.0) == []
    assert await store.jobs([1, 2]) == [kept]
    assert [await store.by_key("", key) for key in "kl"] == [None, 2]
    assert [len(await store.entries(id_, 0, 9)) for id_ in (1, 2)] == [0, 1]
    assert await store.array(1) == ArrayImage(())
    assert len((await store.array(2)).segments) == 1
    assert [len(await store.blocks(id_, 0)) for id_ in (1, 2)] == [0, 1]
    assert [one.id for one in await store.notifications(0, 9)] == [2]
    assert await store.sweep([gone], 0.0) == []
    await admit(store, job(3, key="k"))


async def test_a_batch_goes_with_its_last_job(store: Store) -> None:
    first, second = job(1, batch=7, state=State.FAILED), job(2, batch=7, state=State.FAILED)
    await admit(store, first, second, batch=(7, "", 2))
    await store.sweep([first], 0.0)
    assert await store.batch(7) == Tally(2)
    await store.sweep([second], 0.0)
    assert await store.batch(7) is None


async def test_a_sweep_takes_records_that_have_expired(store: Store) -> None:
    records = [Record("s", "old", b"", 10.0), Record("s", "new", b"", 10.5), Record("s", "ever", b"")]
    await store.commit(Group(records={(one.space, one.key): one for one in records}))
    assert await store.record("s", "old") == records[0]
    assert await store.sweep([], 10.0) == []
    assert [await store.record("s", key) for key in ("old", "new", "ever")] == [None, records[1], records[2]]


async def test_a_sweep_names_artifacts_only_once_nothing_refers_to_them(store: Store) -> None:
    first = job(1, payload=ref(1), array=ArraySpec(count=2, table=ref(2)), state=State.LEASED)
    second = job(2, payload=ref(1), state=State.FAILED, result=ref(5))
    await admit(store, first, second)
    ended = replace(first, state=State.SUCCEEDED, result=ref(3))
    members = (MemberResult(0, State.SUCCEEDED, 1, ref(4)), MemberResult(1, State.SUCCEEDED, 1, ref(5)))
    await store.commit(
        Group(
            transitions={1: Transition(ended, sources(Event.SUCCEED))}, blocks=[Block(1, 0, members), Block(1, 0, members)]
        )
    )
    assert sorted(await store.sweep([ended], 0.0)) == [ref(number).digest for number in (2, 3, 4)]
    assert sorted(await store.sweep([second], 0.0)) == [ref(number).digest for number in (1, 5)]


async def test_references_inside_documents_keep_their_artifacts(store: Store) -> None:
    inside = b'{"submission":{"digest": "%s","size":1}}'
    first = job(1, payload=inside % ref(1).digest.encode(), state=State.LEASED)
    second = job(2, payload=inside % ref(1).digest.encode(), state=State.FAILED)
    await admit(store, first, second)
    ended = replace(first, state=State.SUCCEEDED, result=inside % ref(2).digest.encode())
    await store.commit(Group(transitions={1: Transition(ended, sources(Event.SUCCEED))}))
    assert await store.sweep([second], 0.0) == []
    assert sorted(await store.sweep([ended], 0.0)) == [ref(1).digest, ref(2).digest]


async def test_a_record_keeps_the_artifact_that_it_names(store: Store) -> None:
    await admit(store, job(1, payload=ref(1), state=State.FAILED))
    held = ((1, 1, 10.0), (2, 2, 10.0), (3, 3, 20.0), (4, 2, 30.0))
    records = [Record("s", str(key), b"", expires, ref(number).digest) for key, number, expires in held]
    await store.commit(Group(records={(one.space, one.key): one for one in records}))
    assert await store.record("s", "3") == records[2]
    assert await store.sweep([job(1, payload=ref(1))], 5.0) == []
    assert await store.sweep([], 10.0) == [ref(1).digest]
    assert sorted(await store.sweep([], 30.0)) == [ref(2).digest, ref(3).digest]


async def test_jobs_swept_together_free_what_they_shared(store: Store) -> None:
    jobs = [job(number, payload=ref(1), state=State.FAILED) for number in (1, 2)]
    await admit(store, *jobs)
    assert await store.sweep(jobs, 0.0) == [ref(1).digest]


# Ids


async def last(store: Store, restart: Restart) -> tuple[Store, Sequence[int]]:
    store = await restart(store)
    boot = await store.open()
    return store, (boot.last_job, boot.last_notification)


async def test_a_new_store_has_issued_no_id(store: Store, restart: Restart) -> None:
    assert (await last(store, restart))[1] == (0, 0)


async def test_the_greatest_ids_outlive_what_had_them(store: Store, restart: Restart) -> None:
    jobs = [job(number, state=State.FAILED, batch=50) for number in (3, 40, 20)]
    await admit(store, *jobs, batch=(50, "", 3))
    messages = {
        number: Notification(id=number, job=3, channel="c", address="a", event="e", created=0.0, due=0.0)
        for number in (5, 6)
    }
    await store.commit(Group(notifications=messages))
    store, ids = await last(store, restart)
    assert ids == (50, 6)
    await store.commit(Group(delivered={6}))
    await store.sweep(jobs, 0.0)
    store, ids = await last(store, restart)
    assert ids == (50, 6)
    await admit(store, job(41))
    assert (await last(store, restart))[1] == (50, 6)
