"""A broker driven by intents in any order, over every store that runs in this process.

The rules are what people and programs want: they submit, claim, report whatever lease they ever had, wait, cancel, and pull
the plug. After each of them, and after everything has run to its end, the promises are compared with what was answered.
"""

import asyncio
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from msgspec.structs import replace

from brokers import DONE, STEADY, House, turns
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, Job, Lease, MemberOutcome, Outcome, OutcomeKind, Progress, Subscriber
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import TERMINAL
from crossdock.core.needs import needed_jobs
from crossdock.core.policy import Overrides
from crossdock.core.requests import Note, Notification, Submit
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore

ENDS = {state.value for state in TERMINAL}
ATTEMPTS = 3

workers = st.sampled_from(["a", "b"])
seconds = st.sampled_from([0.0, 0.5, 1.0, 5.0, 29.0, 30.0, 61.0])
kinds = st.sampled_from([OutcomeKind.SUCCEEDED] * 4 + list(OutcomeKind))
moments = st.integers(0, 12)
"""Turns of the event loop until the plug is pulled."""
submits = st.builds(
    Submit,
    kind=st.sampled_from(["work", "work", "work", "needy", "deep"]),
    payload=st.integers(0, 99).map(lambda number: b"%d" % number),
    priority=st.sampled_from([0, 0, 7]),
    tenant=st.sampled_from(["", "t"]),
    key=st.sampled_from([None, None, "k1", "k2"]),
    delay=st.sampled_from([None, None, 0.0, 3.0]),
    overrides=st.sampled_from([None, None, Overrides(attempts=1), Overrides(timeout=20), Overrides(total_timeout=60)]),
    notify=st.just((Subscriber("hook", "x"),)),
)


class BrokerMachine(RuleBasedStateMachine):
    """Subclasses say which store."""

    jobs = Bundle("jobs")
    leases = Bundle("leases")
    batches = Bundle("batches")
    notifications = Bundle("notifications")

    def reopen(self) -> Any:
        """Return the store that the next broker opens."""
        raise NotImplementedError

    # The world

    @initialize(direction=st.sampled_from([-1.0, 1.0]))
    def begin(self, direction: float) -> None:
        # What is put off by a clock that is a day ahead, and read by the next process when it is right again, waits a day.
        self.direction = direction
        self.loop = asyncio.new_event_loop()
        self.accepted: dict[int, Submit] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.ends: dict[int, Job] = {}
        self.results: dict[int, bytes] = {}
        self.tokens: set[int] = set()
        self.told: defaultdict[int, set[tuple[int, str]]] = defaultdict(set)
        self.sizes: dict[int, list[int]] = {}
        self.run(self._begin())

    async def _begin(self) -> None:
        policy = replace(STEADY, keep=1e9)
        needs = {"work": {}, "needy": {"x": "work"}, "deep": {"n": "needy", "x": "work", "y": "work"}}
        self.house = House({name: Kind(name=name, policy=policy, needs=of) for name, of in needs.items()}, self.reopen)
        await self.house.open()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        try:
            if not hasattr(self, "house"):
                return
            self.run(self._drain())
            self.promises()
        finally:
            if hasattr(self, "house"):
                self.run(self.house.crash())
            if hasattr(self, "loop"):
                self.loop.close()

    # What clients do

    @rule(target=jobs, request=submits, parents=st.lists(jobs, max_size=2))
    def submit(self, request: Submit, parents: list[int]) -> Any:
        return self.run(self._submit(replace(request, after=tuple(parents))))

    @rule(target=jobs, request=submits, count=st.sampled_from([1, 2, 40]))
    def submit_array(self, request: Submit, count: int) -> Any:
        request = replace(request, payload=b'{"p":%s}' % request.payload, array=ArraySpec(count=count))
        return self.run(self._submit(request))

    async def _submit(self, request: Submit) -> Any:
        try:
            answer = await self.house.broker.intake.submit(request)
        except CrossdockError as error:
            _expect(error, Code.CONFLICT)
            return multiple()
        await self._remember(request, answer.job, existing=answer.existing)
        return answer.job.id

    async def _remember(self, request: Submit, job: Job, *, existing: bool) -> None:
        if request.key is not None:
            assert self.keys.setdefault((request.tenant, request.key), job.id) == job.id
        if not existing:
            assert job.id not in self.accepted
            self.accepted[job.id] = request
            await self._remember_needs(request, job)

    async def _remember_needs(self, request: Submit, job: Job) -> None:
        """What a job needs is there as soon as the job is, and has its payload and its tenant."""
        assert job.needs == tuple(self.house.kinds[job.kind].needs)
        for needed in needed_jobs(job):
            if needed not in self.accepted:
                self.accepted[needed] = Submit(kind="", payload=request.payload, tenant=request.tenant)
                await self._remember_needs(request, await self.house.job(needed))

    @rule(target=batches, requests=st.lists(submits, min_size=1, max_size=4, unique_by=id))
    def submit_batch(self, requests: list[Submit]) -> int:
        requests = [replace(request, key=None) for request in requests]
        batch, answers = self.run(self.house.broker.intake.submit_batch(requests))
        for request, answer in zip(requests, answers, strict=True):
            self.run(self._remember(request, answer.job, existing=answer.existing))
        self.sizes[batch] = [answer.job.id for answer in answers]
        return batch

    @rule(target=jobs, request=submits, after=moments)
    def crash_while_submitting(self, request: Submit, after: int) -> Any:
        key = request.key or f"alone {len(self.accepted)}"
        request = replace(request, key=key)
        [answer] = self.run(self._crash_during(after, self.house.broker.intake.submit(request)))
        found = self.run(self.house.broker.intake.find(request.tenant, key))
        if answer is not None:
            assert found is not None, "it was acknowledged"
            assert found.id == answer.job.id
        if found is None:
            return multiple()
        if found.id not in self.accepted:
            self.run(self._remember(request, found, existing=False))
        return found.id

    @rule(job=jobs, mode=st.sampled_from(["cooperative", "hard"]))
    def cancel(self, job: int, mode: Any) -> None:
        self._show(self.run(self.house.broker.intake.cancel(job, mode)))

    @rule(batch=batches)
    def cancel_batch(self, batch: int) -> None:
        self.run(self.house.broker.intake.cancel_batch(batch))

    @rule(target=jobs, job=jobs)
    def retry(self, job: int) -> Any:
        try:
            new = self.run(self.house.broker.intake.retry(job))
        except CrossdockError as error:
            _expect(error, Code.CONFLICT)
            return multiple()
        assert new.retry_of == job
        self.accepted[new.id] = replace(self.accepted[job], key=None, payload=new.payload)
        self.run(self._remember_needs(self.accepted[new.id], new))
        return new.id

    # What workers do

    @rule(worker=workers, held=st.lists(leases, max_size=3))
    def attach(self, worker: str, held: list[Lease]) -> None:
        self.run(self.house.attach(worker, tokens=[lease.token for lease in held]))

    @rule(worker=workers)
    def detach(self, worker: str) -> None:
        self.run(self.house.broker.dispatch.detach(worker))

    def _attached(self, worker: str) -> bool:
        return any(view.info.id == worker for view in self.house.broker.oversight.workers())

    @rule(target=leases, worker=workers, limit=st.sampled_from([1, 1, 5]))
    def claim(self, worker: str, limit: int) -> Any:
        return multiple(*self.run(self._claim(worker, limit)))

    async def _claim(self, worker: str, limit: int) -> list[Lease]:
        if not self._attached(worker):
            await self.house.attach(worker)
        leases = await self.house.claim(worker, limit)
        for lease in leases:
            assert lease.token > max(self.tokens, default=0)
            assert lease.job in self.accepted
            self.tokens.add(lease.token)
            await self._inputs(lease)
        return leases

    async def _inputs(self, lease: Lease) -> None:
        """A job begins when what it comes after has succeeded, with the results of that."""
        job = await self.house.job(lease.job)
        assert lease.needs == job.needs
        assert len(lease.inputs) == len(job.after)
        for parent, text in zip(job.after, lease.inputs, strict=True):
            before = await self.house.job(parent)
            assert before.state.value == "succeeded"
            assert text == (before.result or (b"null" if parent in needed_jobs(job) else None))

    @rule(target=leases, worker=workers)
    def overtake(self, worker: str) -> Any:
        """Everybody falls silent; what was lost for it goes to another."""
        self.run(self.house.advance(30))
        self.run(self.house.advance(5))
        return multiple(*self.run(self._claim(worker, 5)))

    @rule(worker=workers, held=st.lists(leases, max_size=4))
    def renew(self, worker: str, held: list[Lease]) -> None:
        if self._attached(worker):
            tokens = [lease.token for lease in held]
            renewal = self.run(self.house.broker.dispatch.renew(worker, tokens))
            assert set(renewal.cancelled) <= set(renewal.alive) <= set(tokens)

    @rule(lease=leases, done=st.integers(0, 9))
    def note(self, lease: Lease, done: int) -> None:
        self.run(self.house.broker.dispatch.note(lease.token, Note(Progress(done, 9), "a line")))

    @rule(lease=leases, kind=kinds)
    def report(self, lease: Lease, kind: OutcomeKind) -> None:
        self.run(self._report(lease, kind))

    async def _report(self, lease: Lease, kind: OutcomeKind) -> None:
        before = await self.house.job(lease.job)
        outcome = self._outcome(lease, kind)
        verdict = await self.house.report(lease, outcome)
        if lease.members is None and kind is OutcomeKind.SUCCEEDED and not verdict.late and not before.terminal:
            assert before.token == lease.token, "a success counted that was not of the newest lease"
            self.results[lease.job] = outcome.result  # type: ignore[assignment]

    def _outcome(self, lease: Lease, kind: OutcomeKind) -> Outcome:
        result = b"%d" % lease.token if kind is OutcomeKind.SUCCEEDED else None
        return Outcome(kind=kind, result=result, code="" if result else "code")

    @rule(lease=leases, kinds=st.lists(kinds, min_size=1, max_size=40))
    def report_members(self, lease: Lease, kinds: list[OutcomeKind]) -> None:
        if lease.members is not None:
            told = [
                MemberOutcome(index=index, outcome=self._outcome(lease, kind))
                for index, kind in zip(lease.members.indexes, kinds, strict=False)
            ]
            self.run(self.house.broker.dispatch.report_members(lease.token, told))

    @rule(lease=leases, kind=kinds, after=moments)
    def crash_while_reporting(self, lease: Lease, kind: OutcomeKind, after: int) -> None:
        before = self.run(self.house.job(lease.job))
        outcome, broker = self._outcome(lease, kind), self.house.broker
        works = broker.dispatch.report(lease.token, outcome), broker.intake.job(lease.job), broker.outbox.claim("hook", 9)
        verdict, shown, told = self.run(self._crash_during(after, *works))
        job = self.run(self.house.job(lease.job))
        if shown is not None:
            self._show(shown)
        if verdict is not None and not verdict.late and verdict.state in TERMINAL:
            assert job.state is verdict.state
        if job.state.value == "succeeded" and not before.terminal and job.array is None:
            self.results[job.id] = outcome.result or b"none was reported"
        for notification in told or ():
            self.told[notification.job].add((notification.id, notification.event))

    # What happens by itself

    @rule(step=seconds)
    def time_passes(self, step: float) -> None:
        self.run(self.house.advance(step))

    @rule(step=st.sampled_from([10.0, 86400.0]))
    def the_clock_is_set(self, step: float) -> None:
        self.house.clock.jump(self.direction * step)
        self.run(self.house.calm())

    @rule()
    def crash(self) -> None:
        self.run(self.house.restart())

    async def _crash_during(self, after: int, *works: Any) -> list[Any]:
        """Begin some calls and crash a little later, at once when one is answered; return the answers that were given."""
        tasks = [asyncio.ensure_future(work) for work in works]
        for _ in range(after):
            if any(task.done() for task in tasks):
                break
            await turns(1)
        answered = [task for task in tasks if task.done()]
        await self.house.crash()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.house.open()
        return [task.result() if task in answered and task.exception() is None else None for task in tasks]

    @rule(target=notifications, limit=st.integers(1, 3))
    def take_notifications(self, limit: int) -> Any:
        return multiple(*self.run(self._take(limit)))

    async def _take(self, limit: int) -> list[Notification]:
        owed = await self.house.broker.outbox.claim("hook", limit)
        for notification in owed:
            job = await self.house.job(notification.job)
            assert job.state.value == notification.event
            self.told[job.id].add((notification.id, notification.event))
        return owed

    @rule(notification=consumes(notifications), later=st.sampled_from([None, 0.0, 10.0]))
    def settle_notification(self, notification: Notification, later: float | None) -> None:
        outbox = self.house.broker.outbox
        self.run(outbox.delivered(notification) if later is None else outbox.postpone(notification, later))

    # What was promised

    @invariant()
    def promises(self) -> None:
        if hasattr(self, "house"):
            self.run(self._promises())

    async def _promises(self) -> None:
        await self.house.broker._journal.durable()
        assert not self.house.broker._journal.failure.done()
        for job_id, request in self.accepted.items():
            job = await self.house.job(job_id)
            assert (job.payload, job.key, job.tenant) == (request.payload, request.key, request.tenant)
            self._show(job)
            await self._log(job)
        for (tenant, key), job_id in self.keys.items():
            found = await self.house.broker.intake.find(tenant, key)
            assert found is not None
            assert found.id == job_id
        await self._tallies()
        for job_id, told in self.told.items():
            assert {event for _, event in told} == {self.ends[job_id].state.value}
            assert len(told) == 1

    def _show(self, job: Job) -> None:
        """What was an end once is the end; a result is the one that counted."""
        if job.id in self.ends:
            end = self.ends[job.id]
            assert (job.state, job.result, job.outcome, job.tally) == (end.state, end.result, end.outcome, end.tally)
        elif job.terminal:
            self.ends[job.id] = job
        if job.id in self.results:
            assert (job.state.value, job.result) == ("succeeded", self.results[job.id])

    async def _log(self, job: Job) -> None:
        log = await self.house.log(job)
        assert [entry.offset for entry in log] == list(range(job.events))
        events = [str(entry.event) for entry in log]
        assert events[0] == "submitted"
        ends = [event for event in events if event in ENDS]
        assert ends == ([job.state.value] if job.terminal else [])
        if ends:
            assert set(events[events.index(ends[0]) + 1 :]) <= {"late"}
        if job.array is None:
            counts = Counter(events)
            limit = job.overrides.attempts if job.overrides and job.overrides.attempts else ATTEMPTS
            assert job.attempt == counts["leased"] - counts["released"] <= limit

    async def _tallies(self) -> None:
        for batch, ids in self.sizes.items():
            tally = await self.house.broker.intake.batch(batch)
            states = Counter([(await self.house.job(job_id)).state.value for job_id in ids])
            assert tally.total == len(ids)
            assert (tally.succeeded, tally.failed, tally.cancelled) == tuple(
                states[state] for state in ("succeeded", "failed", "cancelled")
            )

    async def _drain(self) -> None:
        """Let everything run to its end with a worker that makes no mistakes."""
        for _ in range(200):
            await self.house.attach("good")
            for lease in await self._claim("good", 100):
                if lease.members is None:
                    await self._report(lease, OutcomeKind.SUCCEEDED)
                else:
                    told = [MemberOutcome(index=index, outcome=DONE) for index in lease.members.indexes]
                    await self.house.broker.dispatch.report_members(lease.token, told)
            for notification in await self._take(100):
                await self.house.broker.outbox.delivered(notification)
            await self.house.advance(10)
            if all([(await self.house.job(job_id)).terminal for job_id in self.accepted]):
                break
        await self.house.restart()  # notifications that were taken and never delivered come back
        await self._take(1000)
        for job_id in self.accepted:
            job = await self.house.job(job_id)
            assert job.terminal, job
            assert not job.notify or self.told[job_id], f"nobody was told of {job}"


def _expect(error: CrossdockError, code: Code) -> None:
    if error.code is not code:
        raise error


class OverMemory(BrokerMachine):
    """The memory store, opened again and again."""

    def reopen(self) -> MemoryStore:
        if not hasattr(self, "memory"):
            self.memory = MemoryStore()
        return self.memory


class OverSqlite(BrokerMachine):
    """SQLite in a file; a new store for each broker."""

    def reopen(self) -> SqliteStore:
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.folder.name) / "jobs.sqlite", "OFF")

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


def _form(examples: int) -> settings:
    """More examples than this when the profile says so: at night. A file costs more than memory, and differs little."""
    return settings(max_examples=max(examples, settings().max_examples), stateful_step_count=40)


TestOverMemory = pytest.mark.timeout(7200)(OverMemory.TestCase)
TestOverMemory.settings = _form(400)
TestOverSqlite = pytest.mark.timeout(7200)(OverSqlite.TestCase)
TestOverSqlite.settings = _form(120)
