"""The event log: readers see the same entries whether they were written or are told by the job's snapshot."""

import pytest

from brokers import DONE, House
from crossdock.core.jobs import Job, Outcome, OutcomeKind, Progress
from crossdock.core.lifecycle import State
from crossdock.core.log import tells, told
from crossdock.core.requests import Entry, Note

WRONG = Outcome(kind=OutcomeKind.FAILED, code="wrong", message="it is")
BROKEN = Outcome(kind=OutcomeKind.ERRORED, code="oops")
LEASED = b'{"attempt":1,"worker":"w"}'


async def simple(house: House, outcome: Outcome) -> tuple[Job, list[Entry]]:
    """Run a job whose submit, lease and end are a second apart, each on disk before the next."""
    job = await house.submit()
    await house.advance(1)
    lease = await house.lease()
    await house.advance(1)
    await house.report(lease, outcome)
    return job, await house.log(job)


@pytest.mark.parametrize(
    ("outcome", "end", "data"),
    [
        (DONE, "succeeded", b""),
        (WRONG, "failed", b'{"code":"wrong","message":"it is"}'),
        (Outcome(kind=OutcomeKind.CANCELLED), "cancelled", b""),
    ],
    ids=["succeeded", "failed", "cancelled"],
)
async def test_the_log_of_a_usual_job_is_told_and_not_written(house, outcome, end, data):
    job, log = await simple(house, outcome)
    at = job.created
    assert log == [
        Entry(job.id, 0, at, "submitted"),
        Entry(job.id, 1, at + 1, "leased", LEASED),
        Entry(job.id, 2, at + 2, end, data),
    ]
    assert await house.store.entries(job.id, 0, 100) == []
    for start in range(4):
        assert await house.broker.intake.entries(job.id, start, 2) == log[start : start + 2]


async def test_what_was_told_is_written_once_it_is_not_told_any_more(house):
    job, before = await simple(house, BROKEN)
    assert [entry.event for entry in before] == ["submitted", "leased", "retrying"]
    await house.advance(100)
    await house.report(await house.lease())
    log = await house.log(job)
    assert log[:3] == before
    assert [entry.event for entry in log[3:]] == ["due", "leased", "succeeded"]
    assert log[4].data == b'{"attempt":2,"worker":"w"}'
    assert await house.store.entries(job.id, 0, 100) == log[1:]


async def test_what_was_told_is_written_before_a_note(house):
    job = await house.submit()
    lease = await house.lease()
    await house.calm()
    told_before = await house.log(job)
    await house.broker.dispatch.note(lease.token, Note(Progress(1, 2)))
    await house.broker.dispatch.note(lease.token, Note(log="half"))
    await house.report(lease)
    log = await house.log(job)
    assert log[:2] == told_before
    assert [entry.event for entry in log] == ["submitted", "leased", "progress", "log", "succeeded"]
    assert await house.broker.intake.entries(job.id, 0, 3) == log[:3]


async def test_a_whole_life_in_one_commit_has_the_same_log(house):
    job = await house.submit()
    lease = await house.lease()
    await house.broker.dispatch.detach("w")
    await house.attach("v")
    await house.report(await house.lease("v"))
    assert [(entry.event, entry.data) for entry in await house.log(job)] == [
        ("submitted", b""),
        ("leased", LEASED),
        ("released", b""),
        ("leased", b'{"attempt":1,"worker":"v"}'),
        ("succeeded", b""),
    ]
    assert (await house.report(lease)).late


async def test_a_late_report_leaves_the_log_as_it_was(house):
    job, before = await simple(house, DONE)
    lease = (await house.job(job)).token
    assert (await house.broker.dispatch.report(lease, WRONG)).late
    log = await house.log(job)
    assert log[:-1] == before
    assert log[-1].event == "late"


async def test_there_is_no_log_of_a_job_that_is_not_there(house):
    assert await house.log(12345) == []


def test_a_snapshot_tells_all_or_only_the_submit():
    ready = Job(id=1, kind="k", payload=b"", created=1.0)
    cancelled = Job(id=1, kind="k", payload=b"", created=1.0, state=State.CANCELLED, finished=2.0, events=2)
    noted = Job(id=1, kind="k", payload=b"", created=1.0, state=State.LEASED, attempt=1, worker="w", started=2.0, events=3)
    assert tells(ready)
    assert not tells(cancelled)
    assert not tells(noted)
    assert [told(job) for job in (ready, cancelled, noted)] == [[Entry(1, 0, 1.0, "submitted")]] * 3
