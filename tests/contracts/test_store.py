"""What every implementation of the ``Store`` port does with changes. Queries for jobs and the lifecycle stand beside it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from crossdock.core.changes import Admission, ArrayImage, Block, Group, MemberResult, Segment, Transition
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, ArtifactRef, Job, OutcomeKind, Progress, Subscriber, Tally
from crossdock.core.lifecycle import Event, State, sources
from crossdock.core.policy import Overrides
from crossdock.core.ports import Store
from crossdock.core.requests import Entry, Notification, Query, Record

Restart = Callable[[Store], Awaitable[Store]]


def digest(number: int) -> str:
    return f"{number:064x}"


def ref(number: int) -> ArtifactRef:
    return ArtifactRef(digest(number), 1000 + number, "text/plain; charset=utf-8")


def job(id_: int, **changes: object) -> Job:
    return replace(Job(id=id_, kind="echo", payload=b"{}", created=float(id_)), **changes)


def admitted(*jobs: Job) -> Group:
    entries = [Entry(one.id, 0, one.created, "submitted") for one in jobs]
    return Group(admissions=[Admission([one]) for one in jobs], entries=entries)


def changed(event: Event, *jobs: Job) -> Group:
    return Group(transitions={one.id: Transition(one, sources(event)) for one in jobs})


def owed(id_: int, job_id: int, due: float = 1.0) -> Notification:
    return Notification(id=id_, job=job_id, channel="web", address="http://x", event="succeeded", created=1.0, due=due)


FULL = Job(
    id=(1 << 63) - 1,
    kind="everything",
    payload=ref(1),
    created=1.5,
    requirements=(("gpu", "a|b"), ("kind", "everything"), ("ü", '"')),
    priority=-3,
    tenant="ténant",
    not_before=2.5,
    after=(4, 5),
    needs=("image",),
    key="a key",
    batch=7,
    retry_of=8,
    array=ArraySpec(count=10, name="n", start=-1, step=2, table=ref(2)),
    overrides=Overrides(attempts=1, timeout=2.0, queue_timeout=3.0, total_timeout=4.0, keep=5.0),
    notify=(Subscriber("web", "http://x"), Subscriber("bus", "queue", ("failed",))),
    state=State.FAILED,
    attempt=3,
    token=1 << 62,
    worker="w",
    due=3.5,
    started=4.5,
    finished=5.5,
    expires=6.5,
    outcome=OutcomeKind.TIMED_OUT,
    code="code",
    message="what\nhappened",
    result=ref(3),
    progress=Progress(1, 2.5, "half"),
    tally=Tally(10, 1, 2, 3),
    cancel_requested=True,
    events=12,
)


async def everything(store: Store, jobs: range = range(1, 12)) -> list[object]:
    """Return all that can be seen of a store."""
    page = await store.search(Query(limit=1000))
    return [
        page,
        await store.pending(0, 1000),
        [await store.entries(id_, 0, 1000) for id_ in jobs],
        [await store.array(id_) for id_ in jobs],
        [await store.blocks(id_, 0) for id_ in jobs],
        [await store.batch(id_) for id_ in jobs],
        await store.notifications(0, 1000),
        [await store.record("s", key) for key in "abcd"],
        [await store.by_key(one.tenant, one.key) for one in page.jobs if one.key],
    ]


# Opening


async def test_every_start_has_a_greater_epoch(store: Store, restart: Restart) -> None:
    epochs = [(await (store := await restart(store)).open()).epoch for _ in range(3)]
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 1


async def test_a_store_is_opened_once(store: Store) -> None:
    with pytest.raises(CrossdockError) as caught:
        await store.open()
    assert caught.value.code is Code.CONFLICT
    await store.commit(admitted(job(1)))


async def test_closing_twice_is_harmless(store: Store) -> None:
    await store.close()
    await store.close()


async def test_a_restart_keeps_everything(store: Store, restart: Restart) -> None:
    group = admitted(replace(FULL, id=1), job(2))
    group.admissions.append(Admission([job(3, batch=3)], [Record("s", "a", b"1")], (3, "t", 1)))
    group.notifications = {1: owed(1, 1)}
    group.segments = {(1, 0): Segment(1, 0, b"\1" * 128, b"\2" * 128, b"\4" * 128, {5: 1})}
    group.blocks = [Block(1, 0, (MemberResult(0, State.SUCCEEDED, 1, b"1"),))]
    group.tallies = {3: Tally(succeeded=1)}
    await store.commit(group)
    before = await everything(store)
    store = await restart(store)
    boot = await store.open()
    assert await everything(store) == before
    assert (boot.last_job, boot.last_notification) == (3, 1)


# Jobs


@pytest.mark.parametrize(
    "full", [FULL, replace(FULL, payload=b'{"a": 1}', result=b"null", array=None)], ids=["refs", "inline"]
)
async def test_every_field_of_a_job_is_kept(store: Store, full: Job) -> None:
    await store.commit(admitted(full))
    assert await store.jobs([full.id]) == [full]


async def test_every_field_that_changes_is_kept(store: Store) -> None:
    before = replace(job(1), **{name: getattr(FULL, name) for name in ("requirements", "array", "overrides", "notify")})
    after = replace(before, **{name: getattr(FULL, name) for name in MUTABLE})
    await store.commit(admitted(before))
    await store.commit(changed(Event.FAIL, after))
    assert await store.jobs([1]) == [after]


MUTABLE = Job.__struct_fields__[Job.__struct_fields__.index("state") :]
USUAL = {
    "new": {},
    "begun": {"state": State.LEASED, "attempt": 1, "token": 5, "worker": "w", "started": 1.0, "events": 2},
    "ended": {
        "state": State.SUCCEEDED,
        "attempt": 1,
        "token": 5,
        "worker": "w",
        "started": 1.0,
        "finished": 2.0,
        "expires": 3.0,
        "outcome": OutcomeKind.SUCCEEDED,
        "result": b"1",
        "events": 3,
    },
}


@pytest.mark.parametrize("usual", USUAL.values(), ids=USUAL.keys())
@pytest.mark.parametrize("name", Job.__struct_fields__)
async def test_one_unusual_field_is_kept_like_any_other(store: Store, usual: dict[str, object], name: str) -> None:
    """A store may have a short way for usual jobs; it must not take it for a job that has anything else."""
    unusual = job(1, **{**usual, name: getattr(FULL, name)})
    await store.commit(admitted(unusual))
    assert await store.jobs([unusual.id]) == [unusual]


@pytest.mark.parametrize("usual", USUAL.values(), ids=USUAL.keys())
@pytest.mark.parametrize("name", [None, *MUTABLE])
async def test_a_change_replaces_all_that_may_change(store: Store, usual: dict[str, object], name: str | None) -> None:
    fixed = {field: getattr(FULL, field) for field in Job.__struct_fields__ if field not in MUTABLE}
    before = replace(FULL, state=State.LEASED)
    blank = {field: getattr(job(0), field) for field in MUTABLE}
    after = Job(**{**fixed, **blank, **usual, **({name: getattr(FULL, name)} if name else {})})
    await store.commit(admitted(before))
    await store.commit(changed(Event.SUCCEED, after))
    assert await store.jobs([FULL.id]) == [after]
    assert await store.jobs([FULL.id]) != [before]


async def test_jobs_come_in_the_order_they_were_asked_for(store: Store) -> None:
    await store.commit(admitted(job(1), job(2), job(3)))
    assert [one.id for one in await store.jobs([3, 9, 1, 2])] == [3, 1, 2]
    assert await store.jobs([]) == []


async def test_a_job_may_be_admitted_and_changed_in_one_group(store: Store) -> None:
    leased = job(1, state=State.LEASED, token=5)
    group = changed(Event.LEASE, leased)
    group.admissions = admitted(job(1)).admissions
    await store.commit(group)
    assert await store.jobs([1]) == [leased]


async def test_an_empty_group_changes_nothing(store: Store) -> None:
    await store.commit(admitted(job(1)))
    before = await everything(store)
    await store.commit(Group())
    assert await everything(store) == before


async def test_many_commits_at_once(store: Store) -> None:
    await asyncio.gather(*(store.commit(admitted(job(number))) for number in range(1, 200)))
    assert len((await store.search(Query(limit=1000))).jobs) == 199


@pytest.mark.parametrize(
    "fault",
    [
        changed(Event.LEASE, job(4, state=State.LEASED)),  # it has ended
        changed(Event.LEASE, job(99, state=State.LEASED)),  # it never was
        Group(transitions={1: Transition(job(1), frozenset())}),
        admitted(job(5), job(2)),
        admitted(job(5), job(5)),
        admitted(job(5, key="k")),
        admitted(job(5, key="new"), job(6, key="new")),
        Group(entries=[Entry(1, 1, 0.0, "log"), Entry(1, 0, 0.0, "log")]),
        Group(entries=[Entry(1, 1, 0.0, "log"), Entry(1, 1, 0.0, "log")]),
    ],
    ids=[
        "ended",
        "unknown",
        "no source",
        "same id",
        "same id twice",
        "same key",
        "same key twice",
        "same entry",
        "same entry twice",
    ],
)
async def test_a_conflict_undoes_the_whole_group(store: Store, fault: Group) -> None:
    first = admitted(job(1), job(2), job(3, key="k", batch=3), job(4, state=State.SUCCEEDED))
    first.admissions.append(Admission([], [Record("s", "a", b"old"), Record("s", "b", b"old")], (3, "", 1)))
    first.notifications = {1: owed(1, 1)}
    await store.commit(first)
    before = await everything(store)
    sound = Admission([job(10, batch=10)], [Record("s", "c", b"")], (10, "", 1))
    group = Group(
        admissions=[sound, *fault.admissions],
        transitions={2: Transition(job(2, state=State.LEASED), sources(Event.LEASE)), **fault.transitions},
        entries=[Entry(10, 0, 0.0, "submitted"), Entry(2, 1, 0.0, "leased"), *fault.entries],
        tallies={3: Tally(succeeded=1)},
        notifications={2: owed(2, 2)},
        delivered={1},
        records={("s", "a"): Record("s", "a", b"new"), ("s", "b"): None},
        segments={(1, 0): Segment(1, 0, b"", b"", b"", {})},
        blocks=[Block(1, 0, ())],
    )
    with pytest.raises(CrossdockError) as caught:
        await store.commit(group)
    assert caught.value.code is Code.CONFLICT
    assert await everything(store) == before
    await store.commit(admitted(job(11)))


async def test_an_idempotency_key_belongs_to_its_tenant(store: Store) -> None:
    await store.commit(admitted(job(1, key="k"), job(2, key="k", tenant="other"), job(3), job(4)))
    assert [await store.by_key("", "k"), await store.by_key("other", "k")] == [1, 2]
    assert await store.by_key("nobody", "k") is None
    assert await store.by_key("", "other") is None


# The event log


async def test_entries_are_read_from_an_offset(store: Store) -> None:
    await store.commit(admitted(job(1), job(2)))
    log = [Entry(1, number, number / 2, Event.NOTE, b'{"done": 1}' if number % 2 else b"") for number in range(1, 6)]
    await store.commit(Group(entries=log[:3]))
    await store.commit(Group(entries=log[3:]))
    assert await store.entries(1, 1, 100) == log
    assert await store.entries(1, 3, 2) == log[2:4]
    assert await store.entries(1, 6, 100) == []
    assert await store.entries(2, 0, 100) == [Entry(2, 0, 2.0, "submitted")]
    assert await store.entries(3, 0, 100) == []
    assert type((await store.entries(1, 1, 1))[0].event) in (str, Event)


# Batches and arrays


async def test_tallies_add_up(store: Store) -> None:
    await store.commit(Group(admissions=[Admission([job(1, batch=9)], [], (9, "t", 3))]))
    assert await store.batch(9) == Tally(3)
    await store.commit(Group(tallies={9: Tally(succeeded=1), 8: Tally(failed=1)}, entries=[Entry(1, 0, 0.0, "log")]))
    await store.commit(Group(tallies={9: Tally(2, 0, 1, 1)}))
    assert await store.batch(9) == Tally(5, 1, 1, 1)
    assert await store.batch(8) is None


async def test_segments_are_replaced_and_come_in_order(store: Store) -> None:
    first = [Segment(1, number, bytes([number]) * 128, bytes(128), bytes(128), {}) for number in (2, 0, 1)]
    await store.commit(Group(segments={(one.job, one.number): one for one in first}))
    attempts = {3: 1, 1023: 7}
    newer = Segment(1, 0, b"\xff" * 128, b"\x01" * 128, b"\x02" * 128, attempts)
    await store.commit(Group(segments={(1, 0): newer}))
    attempts.clear()
    kept = replace(newer, attempts={3: 1, 1023: 7})
    assert await store.array(1) == ArrayImage((kept, first[2], first[0]))
    assert await store.array(2) == ArrayImage(())


async def test_reading_a_segment_gives_others_a_turn(store: Store) -> None:
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    assert await store.blocks(1, 0) == []
    assert turns == [1]


async def test_blocks_come_in_the_order_they_were_written(store: Store) -> None:
    blocks = [
        Block(1, 0, (MemberResult(5, State.SUCCEEDED, 1, b"[1]"), MemberResult(4, State.FAILED, 3, None, "code", "why"))),
        Block(1, 1, (MemberResult(1025, State.SUCCEEDED, 1, ref(1)),)),
        Block(1, 0, (MemberResult(4, State.CANCELLED, 0),)),
        Block(2, 0, ()),
    ]
    await store.commit(Group(blocks=blocks[:2]))
    await store.commit(Group(blocks=blocks[2:]))
    assert await store.blocks(1, 0) == [blocks[0], blocks[2]]
    assert await store.blocks(1, 1) == [blocks[1]]
    assert await store.blocks(2, 0) == [blocks[3]]
    assert await store.blocks(3, 0) == []


# Notifications and records


async def test_notifications_are_owed_until_delivered(store: Store) -> None:
    await store.commit(Group(notifications={number: owed(number, 1) for number in (3, 1, 2)}))
    assert await store.notifications(0, 2) == [owed(1, 1), owed(2, 1)]
    assert await store.notifications(1, 100) == [owed(2, 1), owed(3, 1)]
    later = replace(owed(2, 1, due=99.0), attempts=1)
    await store.commit(Group(notifications={2: later}, delivered={1}))
    await store.commit(Group(delivered={1, 77}))
    assert await store.notifications(0, 100) == [later, owed(3, 1)]


async def test_a_notification_that_is_delivered_in_the_group_that_owes_it_is_gone(store: Store) -> None:
    await store.commit(Group(notifications={1: owed(1, 1)}, delivered={1}))
    assert await store.notifications(0, 100) == []


async def test_records_are_put_replaced_and_taken(store: Store) -> None:
    first, other = Record("s", "a", b"\x00\xff", 5.0), Record("t", "a", b"other")
    await store.commit(Group(admissions=[Admission([job(1)], [first, other])]))
    assert await store.record("s", "a") == first
    newer = Record("s", "a", b"newer")
    await store.commit(Group(records={("s", "a"): newer, ("s", "b"): Record("s", "b", b"")}))
    assert await store.record("s", "a") == newer
    await store.commit(Group(records={("s", "a"): None, ("s", "nothing"): None}))
    assert await store.record("s", "a") is None
    assert await store.record("s", "b") == Record("s", "b", b"")
    assert await store.record("t", "a") == other
