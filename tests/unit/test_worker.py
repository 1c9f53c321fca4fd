"""The worker between a real broker and real runners."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, Job, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.lifecycle import State
from crossdock.core.ports import Artifacts, Store
from crossdock.core.requests import LOCAL, Capabilities, Renewal, Submit, Verdict, WorkerInfo
from crossdock.runners.function import App, FunctionRunner, load_app
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.worker import Worker
from unit.runners.recorder import SAMPLE, gone

LIMIT = 60.0
"""Seconds for what takes none. No grace or lease of a job in here ends in that time, and then does what was to be shown."""


class Place:
    """A broker that can be away, and be started anew, and the workers over it."""

    def __init__(self, artifacts: Artifacts, app: App, reference: str = SAMPLE) -> None:
        self.artifacts = artifacts
        self.app = app
        self.reference = reference
        self.store: Store = MemoryStore()
        self.broker = self._new()
        self.away = False
        self.missed = asyncio.Event()
        """Somebody has found the broker away."""
        self.refuse_reports = False
        self.lost_reports = 0
        self.slow_report: asyncio.Event | None = None
        """Set by a renewal that comes while a report is on its way, which waits for it."""

    def _new(self) -> Broker:
        return Broker(
            store=self.store, artifacts=self.artifacts, signals=LocalSignals(), clock=SystemClock(), kinds=self.app.kinds()
        )

    async def restart(self) -> None:
        await self.broker.close()
        self.broker = self._new()
        await self.broker.open()

    @asynccontextmanager
    async def worker(self, slots: int = 1, local: bool = True) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
        """Run a worker while the block lasts."""
        kinds = self.app.kinds()
        info = WorkerInfo(
            id=f"{LOCAL if local else ''}tester",
            slots=slots,
            capabilities=Capabilities(values={"kind": tuple(kinds)}),
            local=local,
        )
        self.runner = FunctionRunner(self.app, self.reference, processes=slots, artifacts=self.artifacts)
        worker = Worker(Line(self), self.artifacts, {"function": self.runner}, kinds, info)
        task = asyncio.create_task(worker.run())
        try:
            yield worker, task
        finally:
            self.away = False
            worker.release()
            async with asyncio.timeout(LIMIT):
                await asyncio.wait([task])

    async def submit(self, kind: str, payload: object = None, **options: Any) -> int:
        text = msgspec.json.encode({} if payload is None else payload)
        return (await self.broker.intake.submit(Submit(kind=kind, payload=text, **options))).job.id

    async def end(self, job: int) -> Job:
        ended = await self.broker.intake.wait(job, LIMIT)
        assert ended.terminal, ended
        return ended

    async def logged(self, job: int, event: str) -> list[Any]:
        """Wait for an entry of a kind in a job's log; return the data of all of them."""
        seen = 0
        async with asyncio.timeout(LIMIT):
            while True:
                entries = await self.broker.intake.entries(job, 0)
                found = [msgspec.json.decode(entry.data) for entry in entries if entry.event == event]
                if found:
                    return found
                seen = len(entries)
                await self.broker.intake.changed(job, seen, LIMIT)

    async def result(self, job: Job) -> Any:
        assert job.result is not None, job
        return msgspec.json.decode(await load(self.artifacts, job.result))


class Line:
    """The dispatch of whatever broker there is at the moment."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        if not self._place.away:
            return getattr(self._place.broker.dispatch, name)
        self._place.missed.set()
        raise CrossdockError(Code.UNAVAILABLE, "the broker cannot be reached")

    async def report(self, token: int, outcome: Outcome) -> Verdict:
        if self._place.refuse_reports and outcome.kind is OutcomeKind.SUCCEEDED:
            raise CrossdockError(Code.TOO_LARGE, "that is too much")
        if self._place.lost_reports:
            self._place.lost_reports -= 1
            self._place.missed.set()
            raise CrossdockError(Code.UNAVAILABLE, "the broker cannot be reached")
        if self._place.slow_report is not None:
            self._place.missed.set()
            await self._place.slow_report.wait()
        return await self.__getattr__("report")(token, outcome)

    async def renew(self, worker: str, tokens: Sequence[int]) -> Renewal:
        if self._place.slow_report is not None and self._place.missed.is_set():
            self._place.slow_report.set()
        return await self.__getattr__("renew")(worker, tokens)

    async def report_members(self, token: int, outcomes: Sequence[MemberOutcome]) -> Verdict:
        if self._place.refuse_reports:
            raise CrossdockError(Code.TOO_LARGE, "that is too much")
        return await self.__getattr__("report_members")(token, outcomes)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(file_artifacts(tmp_path / "artifacts"), load_app(SAMPLE))
    await place.broker.open()
    yield place
    await place.broker.close()


async def test_jobs_are_run(place: Place) -> None:
    async with place.worker(slots=2):
        jobs = [await place.submit(kind, {"a": a}) for a in range(20) for kind in ("add", "async_add")]
        ends = [await place.end(job) for job in jobs]
    assert [await place.result(job) for job in ends] == [a + 2 for a in range(20) for _ in range(2)]
    assert {job.attempt for job in ends} == {1}


async def test_large_documents_travel_as_artifacts(place: Place) -> None:
    text = "x" * 300_000
    async with place.worker():
        ended = await place.end(await place.submit("echo", text))
    assert await place.result(ended) == text


async def test_a_job_gets_the_results_of_those_before_it(place: Place) -> None:
    async with place.worker():
        first = await place.submit("add", {"a": 1})
        second = await place.submit("echo", "x" * 100_000)
        ended = await place.end(await place.submit("whoami", after=(first, second)))
    assert (await place.result(ended))["inputs"] == [3, "x" * 100_000]


async def test_no_more_than_the_slots_run(place: Place) -> None:
    async with place.worker(slots=2):
        jobs = [await place.submit("patient") for _ in range(3)]
        for job in jobs[:2]:
            await place.logged(job, "log")
        states = [(await place.broker.intake.job(job)).state for job in jobs]
        assert states == [State.LEASED, State.LEASED, State.READY]


async def test_what_an_attempt_says_is_logged_before_its_end(place: Place) -> None:
    async with place.worker():
        job = await place.submit("tell", {"steps": 3})
        ended = await place.end(job)
    entries = [entry.event for entry in await place.broker.intake.entries(job, 0)]
    assert entries[-1] == "succeeded"
    assert [line["text"] for line in await place.logged(job, "log")] == ["line 0", "line 1", "line 2"]
    assert ended.progress is not None
    assert (ended.progress.done, ended.progress.message) == (3, "all")


async def test_code_that_never_lets_go_of_the_interpreter_does_not_lose_its_lease(place: Place) -> None:
    # The second slot would take the job up again if it counted as lost.
    async with place.worker(slots=2, local=False):
        job = await place.submit("hold_the_lock", {"seconds": 3.5})
        ended = await place.end(job)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert ended.finished is not None
    assert ended.started is not None
    assert ended.finished - ended.started > 3 * load_app(SAMPLE).kinds()["hold_the_lock"].policy.lease
    assert "retrying" not in {entry.event for entry in await place.broker.intake.entries(job, 0)}


@pytest.mark.parametrize("local", [True, False])
async def test_a_cancelled_job_is_asked_to_stop(place: Place, local: bool) -> None:
    async with place.worker(local=local):
        job = await place.submit("patient")
        await place.logged(job, "log")
        await place.broker.intake.cancel(job)
        assert (await place.end(job)).state is State.CANCELLED
        assert (await place.end(await place.submit("add", {"a": 1}))).state is State.SUCCEEDED


async def test_a_job_cancelled_hard_is_killed(place: Place) -> None:
    async with place.worker():
        job = await place.submit("stuck")
        pids = (await place.logged(job, "log"))[0]["text"].split()
        await place.broker.intake.cancel(job, "hard")
        assert (await place.end(job)).state is State.CANCELLED
        # It has one slot, so the next job runs only because the first was ended.
        assert (await place.end(await place.submit("add", {"a": 1}))).state is State.SUCCEEDED
        await gone(*map(int, pids))


async def test_a_job_that_kills_its_process_is_dead_after_three_attempts(place: Place) -> None:
    async with place.worker():
        poison = await place.submit("segfault")
        others = [await place.submit("add", {"a": a}) for a in range(5)]
        for job in others:
            assert (await place.end(job)).state is State.SUCCEEDED
        ended = await place.end(poison)
    assert (ended.state, ended.attempt, ended.code) == (State.FAILED, 3, "worker_died")
    assert "SIGSEGV" in ended.message


async def test_draining_finishes_what_runs_and_takes_nothing_more(place: Place) -> None:
    async with place.worker() as (worker, task):
        running = await place.submit("patient")
        await place.logged(running, "log")
        queued = await place.submit("add", {"a": 1})
        worker.drain()
        await place.broker.intake.cancel(running)
        async with asyncio.timeout(LIMIT):
            await task
    assert (await place.end(running)).state is State.CANCELLED
    assert (await place.broker.intake.job(queued)).state is State.READY
    assert place.broker.oversight.workers() == []


async def test_draining_an_idle_worker_does_not_wait_for_its_claim(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdock.worker.worker._LOCAL_WAIT", 10 * LIMIT)
    async with place.worker() as (worker, task):
        await place.end(await place.submit("add", {"a": 1}))
        worker.drain()
        async with asyncio.timeout(LIMIT):
            await task


@pytest.mark.parametrize("local", [True, False])
async def test_releasing_hands_leases_back_at_once(place: Place, local: bool) -> None:
    async with place.worker(slots=2, local=local) as (worker, task):
        jobs = [await place.submit("stuck"), await place.submit("async_stuck")]
        words = [await place.logged(job, "log") for job in jobs]
        worker.drain()
        worker.release()
        async with asyncio.timeout(LIMIT):
            await task
    for job in jobs:
        back = await place.broker.intake.job(job)
        assert (back.state, back.attempt) == (State.READY, 0)
    await gone(*map(int, words[0][0]["text"].split()))


async def test_cancelling_run_kills_what_runs(place: Place) -> None:
    async with place.worker() as (_, task):
        job = await place.submit("stuck")
        pids = (await place.logged(job, "log"))[0]["text"].split()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await gone(*map(int, pids))
        assert (await place.broker.intake.job(job)).state is State.READY


async def test_a_report_is_repeated_until_it_is_heard(place: Place) -> None:
    place.lost_reports = 3
    async with place.worker(local=False):
        ended = await place.end(await place.submit("add", {"a": 1}))
    assert (ended.state, ended.attempt, place.lost_reports) == (State.SUCCEEDED, 1, 0)


async def test_a_slot_is_free_for_others_while_a_report_is_on_its_way(place: Place) -> None:
    place.lost_reports = 1_000_000
    async with place.worker(slots=1):
        first = await place.submit("add", {"a": 1})
        await place.missed.wait()
        second = await place.submit("patient")
        await place.logged(second, "log")
        place.lost_reports = 0
        assert (await place.end(first)).state is State.SUCCEEDED


async def test_a_lease_lasts_until_its_report_has_arrived(place: Place) -> None:
    place.slow_report = asyncio.Event()
    async with place.worker(local=False):
        job = await place.submit("add", {"a": 2, "b": 3})
        assert (await place.end(job)).attempt == 1
    assert place.slow_report.is_set()


async def test_releasing_gives_up_on_a_broker_that_does_not_answer(place: Place) -> None:
    place.lost_reports = 1_000_000
    async with place.worker(local=False) as (worker, task):
        await place.submit("add", {"a": 1})
        await place.missed.wait()
        worker.release()
        async with asyncio.timeout(LIMIT):
            await task


async def test_a_job_outlives_a_restart_of_its_broker(place: Place) -> None:
    async with place.worker(local=False):
        job = await place.submit("patient")
        await place.logged(job, "log")
        place.away = True
        await place.restart()
        await place.missed.wait()
        place.away = False
        await place.broker.intake.cancel(job)
        ended = await place.end(job)
        assert (ended.state, ended.attempt) == (State.CANCELLED, 1)
        assert (await place.end(await place.submit("add", {"a": 1}))).state is State.SUCCEEDED


async def test_a_lease_that_was_lost_is_not_worked_on(place: Place) -> None:
    async with place.worker(local=False):
        job = await place.submit("stuck")
        pids = (await place.logged(job, "log"))[0]["text"].split()
        token = (await place.broker.intake.job(job)).token
        await place.broker.dispatch.report(token, Outcome(kind=OutcomeKind.FAILED))
        await gone(*map(int, pids), within=LIMIT)
        assert (await place.end(await place.submit("add", {"a": 1}))).state is State.SUCCEEDED


async def test_a_report_that_is_refused_fails_the_job_with_the_reason(place: Place) -> None:
    place.refuse_reports = True
    async with place.worker():
        ended = await place.end(await place.submit("add", {"a": 1}))
    assert (ended.state, ended.code) == (State.FAILED, "too_large")


async def test_members_of_arrays_are_run(place: Place) -> None:
    async with place.worker(slots=2):
        array = await place.submit("member", {"bad": 1234}, array=ArraySpec(count=3000))
        ended = await place.end(array)
    assert ended.tally is not None
    assert (ended.tally.total, ended.tally.succeeded, ended.tally.failed) == (3000, 2999, 1)
    failed = [member async for member in place.broker.intake.members(array, "failed")]
    assert [(member.index, member.attempt, member.code) for member in failed] == [(1234, 3, "ValueError")]


async def test_an_array_is_cancelled_as_one(place: Place) -> None:
    async with place.worker():
        array = await place.submit("member", {"bad": 0, "how": "cancel"}, array=ArraySpec(count=1_000_000))
        await place.logged(array, "log")
        await place.broker.intake.cancel(array)
        ended = await place.end(array)
        assert ended.state is State.CANCELLED
        assert (await place.end(await place.submit("add", {"a": 1}))).state is State.SUCCEEDED


async def test_a_chunk_whose_report_is_refused_fails(place: Place) -> None:
    place.refuse_reports = True
    async with place.worker():
        ended = await place.end(await place.submit("member", array=ArraySpec(count=2000)))
    assert ended.state is State.FAILED
    assert ended.tally is not None
    assert ended.tally.failed == 2000


async def test_a_payload_that_is_gone_is_an_error_of_ours(place: Place, tmp_path: Path) -> None:
    job = await place.submit("echo", "x" * 100_000)
    digest = (await place.broker.intake.job(job)).payload.digest
    for path in (tmp_path / "artifacts").rglob(f"*{digest[4:]}*"):
        path.unlink()
    async with place.worker():
        ended = await place.end(job)
    assert (ended.state, ended.code) == (State.FAILED, "not_found")


# What runners wait for


class Listener:
    """A runner that wants to know what became of what it returned."""

    def __init__(self, outcomes: Sequence[Outcome] = ()) -> None:
        self.heard: list[bool] = []
        self.outcomes = list(outcomes)
        self.hold: asyncio.Event | None = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def run(self, lease: Any, attempt: Any) -> Outcome:
        attempt.when_reported(self.heard.append)
        if self.hold is not None:
            await self.hold.wait()
        if lease.members is not None:
            for index in lease.members.indexes:
                attempt.when_reported(self.heard.append)
                await attempt.member(MemberOutcome(index=index, outcome=Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")))
        return self.outcomes.pop(0) if self.outcomes else Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")


@asynccontextmanager
async def listening(place: Place, listener: Listener) -> AsyncIterator[Worker]:
    """Run a worker with a listener for a runner."""
    kinds = place.app.kinds()
    info = WorkerInfo(id=f"{LOCAL}listener", capabilities=Capabilities(values={"kind": tuple(kinds)}), local=True)
    worker = Worker(Line(place), place.artifacts, {"function": listener}, kinds, info)
    task = asyncio.create_task(worker.run())
    yield worker
    worker.release()
    async with asyncio.timeout(LIMIT):
        await task


async def test_a_runner_hears_that_its_outcome_is_on_disk(place: Place) -> None:
    listener = Listener([Outcome(kind=OutcomeKind.FAILED)])
    async with listening(place, listener):
        await place.end(await place.submit("echo", {"value": 1}))
    assert listener.heard == [True]


async def test_a_runner_hears_of_members_as_they_are_reported(place: Place) -> None:
    listener = Listener()
    async with listening(place, listener):
        await place.end(await place.submit("echo", {"value": 1}, array=ArraySpec(count=5, name="value")))
    assert listener.heard.count(True) >= 5
    assert False not in listener.heard


async def test_a_runner_that_is_killed_hears_that_nobody_took_note(place: Place) -> None:
    listener = Listener()
    listener.hold = asyncio.Event()
    async with listening(place, listener) as worker:
        job = await place.submit("echo", {"value": 1})
        await place.logged(job, "leased")
        worker.release()
    assert listener.heard == [False]
