"""Those who talk to the broker in a simulated world: clients, workers, and who delivers notifications.

They are honest and forgetful: they repeat what was not answered, crash, and remember for the judge what they were told.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, Job, Lease, MemberOutcome, Outcome, OutcomeKind, Subscriber
from crossdock.core.lifecycle import State
from crossdock.core.policy import Overrides
from crossdock.core.requests import Capabilities, Notification, Renewal, Submit, WorkerInfo
from machines.faulty import Lost

if TYPE_CHECKING:
    from machines.simulation import World

HOOK = Subscriber("hook", "c")


class Plan(Struct, frozen=True):
    """What a client wants of one job. ``fate`` is how its attempts go; ``after`` is the number of another plan."""

    number: int
    fate: str
    at: float
    request: Submit
    after: int | None
    cancel: str | None
    retry: bool

    @classmethod
    def drawn(cls, random: Random, number: int) -> "Plan":
        """Return a plan; the number is in the payload, so that a job can be told from another that took its id."""
        fate = random.choices(("good", "slow", "flaky", "bad", "poison"), (5, 3, 3, 1, 1))[0]
        count = random.choice((1, 3) if fate == "poison" else (1, 3, 40))
        return cls(
            number=number,
            fate=fate,
            at=random.uniform(0, 10),
            request=Submit(
                kind="work",
                payload=b'{"number":%d,"fate":"%s"}' % (number, fate.encode()),
                key=f"key {number}",
                priority=random.choice((0, 0, 5)),
                tenant=random.choice(("", "t")),
                delay=random.choice((None, None, 0.5, 3.0)),
                array=ArraySpec(count=count) if random.random() < 0.15 else None,
                overrides=Overrides(attempts=random.choice((1, 2))) if random.random() < 0.2 else None,
                notify=(HOOK,),
            ),
            after=random.randrange(number) if number and random.random() < 0.3 else None,
            cancel=random.choice(("cooperative", "hard")) if random.random() < 0.15 else None,
            retry=random.random() < 0.5,
        )


class Client:
    """Submits jobs under keys until they are acknowledged, cancels some, waits for all, and is told of their ends."""

    def __init__(self, world: "World", plans: list[Plan]) -> None:
        self._world = world
        self.plans = plans
        self.refused: set[int] = set()
        self.accepted: defaultdict[int, set[int]] = defaultdict(set)
        """Ids that were acknowledged, by number of the plan."""
        self.seen: defaultdict[int, set[tuple[State, Any]]] = defaultdict(set)
        """Ends that were shown, by job."""
        self.told: defaultdict[int, list[Notification]] = defaultdict(list)
        """Notifications that arrived, by job."""

    def flows(self) -> list[Coroutine[Any, Any, None]]:
        """Return what the client does for each plan."""
        return [self._follow(plan) for plan in self.plans]

    async def _follow(self, plan: Plan) -> None:
        await asyncio.sleep(plan.at)
        job = await self._submit(plan)
        if job is None:
            self.refused.add(plan.number)
            return
        if plan.cancel is not None:
            await asyncio.sleep(self._world.random.uniform(0, 2))
            self._look(await self._insist(lambda broker: self._checked(broker.intake.cancel(job, plan.cancel))))
        while True:
            snapshot = await self._insist(lambda broker: self._checked(broker.intake.wait(job, 1.0)))
            self._look(snapshot)
            if snapshot.terminal:
                break
        if plan.retry and snapshot.state is State.FAILED:
            with suppress(CrossdockError):  # not if what it comes after has failed as well
                await self._insist(lambda broker: broker.intake.retry(job))

    async def _parent(self, plan: Plan) -> tuple[int, ...] | None:
        """Return the job that this one should come after, None if it was refused itself."""
        if plan.after is None:
            return ()
        while not self.accepted[plan.after]:
            if plan.after in self.refused:
                return None
            await asyncio.sleep(0.3)
        return (min(self.accepted[plan.after]),)

    async def _submit(self, plan: Plan) -> int | None:
        number = plan.number
        after = await self._parent(plan)
        if after is None:
            return None
        request = msgspec.structs.replace(plan.request, after=after)

        async def submit(broker: Broker) -> int:
            job = (await broker.intake.submit(request)).job
            if job.id not in self._world.store._tables.jobs:
                self._world.wrong.append(f"plan {number}: job {job.id} was acknowledged before it was on disk")
            return job.id

        try:
            job = await self._insist(submit)
        except CrossdockError:  # what it should come after has failed
            return None
        self.accepted[number].add(job)
        return job

    async def _checked(self, request: Awaitable[Job]) -> Job:
        job = await request
        stored = self._world.store._tables.jobs.get(job.id)
        if job.terminal and (stored is None or stored.state is not job.state):
            self._world.wrong.append(f"job {job.id}: it was shown as {job.state} before that was on disk")
        return job

    def _look(self, job: Job) -> None:
        if job.terminal:
            self.seen[job.id].add((job.state, job.result))

    async def _insist(self, request: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Ask until there is an answer."""
        while True:
            try:
                return await self._world.network.call("c", request)
            except Lost:
                pass
            except CrossdockError as error:
                if error.code is not Code.UNAVAILABLE:
                    raise
            await asyncio.sleep(self._world.random.uniform(0.05, 0.5))

    def receive(self, notification: Notification) -> None:
        """Take a notification; what it says has to be on disk."""
        self.told[notification.job].append(notification)
        job = self._world.store._tables.jobs.get(notification.job)
        if job is None or job.state.value != notification.event:
            self._world.wrong.append(f"job {notification.job}: its end was told before it was on disk")


class Deliverer:
    """Delivers notifications, in the process of the broker."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def run(self, broker: Broker) -> None:
        """Deliver what is owed, for as long as the process lives."""
        random, network = self._world.random, self._world.network
        while True:
            for notification in await broker.outbox.claim("hook", 3, 1.0):
                await asyncio.sleep(0.001 if network.calm else random.expovariate(1 / self._world.mix.latency))
                arrived = network.calm or ("<c" not in network.cut and random.random() >= self._world.mix.drop)
                if arrived:
                    self._world.client.receive(notification)
                if arrived and (network.calm or random.random() >= self._world.mix.drop):
                    await broker.outbox.delivered(notification)
                else:
                    await broker.outbox.postpone(notification, random.choice((0.1, 0.5, 2.0)))


class Worker:
    """Claims, runs, renews and reports; a rude one goes on when it is told that its lease is over."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number
        self.ways = (f"w{number}>", f"<w{number}")
        self._rude = world.random.random() < world.mix.rude
        self._life = 0
        self._task: asyncio.Task[None] | None = None
        self._held: dict[int, asyncio.Task[None]] = {}
        self.leases: list[Lease] = []
        """All leases that were given out, by whom ever they were received."""
        self.accepted: list[tuple[Lease, Outcome]] = []
        """Every report that counted."""

    async def run(self) -> None:
        """Live again and again."""
        while True:
            self._life += 1
            self._held = {}
            self._task = asyncio.get_running_loop().create_task(self._work())
            await asyncio.wait([self._task])
            for task in self._held.values():
                task.cancel()
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error
            await asyncio.sleep(self._world.random.uniform(0.1, 2.0))

    def crash(self) -> None:
        """End at once, and forget everything."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        """Attach, then claim and renew in turns."""
        slots = self._world.random.choice((1, 2, 4))
        name = f"w{self._number}" if self._world.random.random() < 0.5 else f"w{self._number}.{self._life}"
        info = WorkerInfo(id=name, slots=slots, capabilities=Capabilities(values={"kind": ("work",)}))
        while True:
            try:
                self._obey(await self._call(partial(self._attach, info=info, tokens=list(self._held))))
                await self._serve(info)
            except Lost:
                pass
            except CrossdockError as error:
                if error.code not in {Code.NOT_FOUND, Code.UNAVAILABLE}:
                    raise
                await asyncio.sleep(0.1)

    async def _serve(self, info: WorkerInfo) -> None:
        while True:
            free = info.slots - len(self._held)
            if free:
                for lease in await self._call(partial(self._take, worker=info.id, free=free)):
                    self._begin(lease)
            else:
                await asyncio.sleep(0.3)
            if self._held:
                self._obey(await self._call(partial(self._renew, worker=info.id, tokens=list(self._held))))

    async def _take(self, broker: Broker, worker: str, free: int) -> list[Lease]:
        leases = await broker.dispatch.claim(worker, free, 0.5)
        for lease in leases:
            self.leases.append(lease)
            # It was granted while the claim was reading, at most some reads ago.
            self._world.heard[lease.token] = self._world.loop.now - 4 * free * self._world.mix.read
        return leases

    async def _attach(self, broker: Broker, info: WorkerInfo, tokens: list[int]) -> Renewal:
        return self._hear(await broker.dispatch.attach(info, tokens))

    async def _renew(self, broker: Broker, worker: str, tokens: list[int]) -> Renewal:
        return self._hear(await broker.dispatch.renew(worker, tokens))

    def _hear(self, renewal: Renewal) -> Renewal:
        for token in renewal.alive:
            self._world.heard[token] = self._world.loop.now
        return renewal

    def _obey(self, renewal: Renewal) -> None:
        for token, task in list(self._held.items()):
            over = token not in renewal.alive and not self._rude
            if over or (token in renewal.cancelled and self._world.random.random() < 0.5):
                task.cancel()

    def _begin(self, lease: Lease) -> None:
        task = asyncio.get_running_loop().create_task(self._run(lease))
        self._held[lease.token] = task
        task.add_done_callback(lambda _: self._held.pop(lease.token, None))

    async def _run(self, lease: Lease) -> None:
        random = self._world.random
        text = msgspec.json.decode(lease.payload if isinstance(lease.payload, bytes) else b"{}")
        fate = text["fate"]
        try:
            await asyncio.sleep(random.uniform(1.0, 5.0) if fate == "slow" else random.uniform(0.01, 0.3))
        except asyncio.CancelledError:
            if self._task is not None and not self._task.done():
                await self._report(lease, Outcome(kind=OutcomeKind.CANCELLED))
            return
        if fate == "poison":
            self.crash()
            return
        if lease.members is not None:
            await self._report_members(lease, fate)
            return
        await self._report(lease, self._draw(lease, fate, lease.token))

    def _draw(self, lease: Lease, fate: str, mark: int) -> Outcome:
        random = self._world.random
        if fate == "bad":
            return Outcome(kind=OutcomeKind.FAILED, code="bad")
        if fate == "flaky" and random.random() < 0.5:
            kind = random.choice((OutcomeKind.ERRORED, OutcomeKind.ERRORED, OutcomeKind.RELEASED))
            return Outcome(kind=kind, code="flaky")
        return Outcome(kind=OutcomeKind.SUCCEEDED, result=b"[%d,%d]" % (lease.job, mark))

    async def _report(self, lease: Lease, outcome: Outcome) -> None:
        async def report(broker: Broker) -> None:
            verdict = await broker.dispatch.report(lease.token, outcome)
            if not verdict.late:
                self.accepted.append((lease, outcome))

        async for _ in self._tries():
            if await self._told(report):
                return

    async def _report_members(self, lease: Lease, fate: str) -> None:
        for index in lease.members.indexes if lease.members is not None else ():
            told = MemberOutcome(index=index, outcome=self._draw(lease, fate, index))
            async for _ in self._tries():
                if await self._told(partial(self._tell, token=lease.token, told=told)):
                    break

    async def _tell(self, broker: Broker, token: int, told: MemberOutcome) -> None:
        await broker.dispatch.report_members(token, [told])

    async def _told(self, report: Callable[[Broker], Awaitable[None]]) -> bool:
        try:
            await self._call(report)
        except Lost:
            return False
        except CrossdockError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
            return False
        return True

    async def _tries(self) -> AsyncIterator[int]:
        for number in range(1000):
            yield number
            await asyncio.sleep(self._world.random.uniform(0.05, 0.5))

    async def _call(self, request: Callable[[Broker], Awaitable[Any]]) -> Any:
        return await self._world.network.call(f"w{self._number}", request)
