"""The monitor as browsers meet it: a real WebSocket client, a real broker behind it."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, MemberOutcome, Outcome, OutcomeKind, Progress
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Note, Record, Step, Submit, WorkerInfo
from crossdock.protocols.recodex.monitor import Monitor, MonitorOptions, resolver
from crossdock.protocols.recodex.translation import JOBS
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore

OK = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"null")
FINISHED = '{"command": "FINISHED"}'
FAILED = '{"command": "FAILED"}'


class Clock:
    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Worker:
    """A worker in the test's own hands."""

    def __init__(self, broker):
        self.dispatch = broker.dispatch
        self.lease = None

    async def take(self):
        [self.lease] = await self.dispatch.claim("local/w", 1, 10)
        return self.lease

    async def step(self, *words, lease=None):
        await self.dispatch.note((lease or self.lease).token, Note(step=Step(*words)))

    async def report(self, outcome=OK):
        await self.dispatch.report(self.lease.token, outcome)


@pytest.fixture
async def broker(tmp_path):
    kinds = {"work": Kind(name="work", policy=Policy(attempts=3, backoff=0.01))}
    broker = Broker(
        store=MemoryStore(), artifacts=file_artifacts(tmp_path), signals=LocalSignals(), clock=Clock(), kinds=kinds
    )
    await broker.open()
    info = WorkerInfo(id="local/w", slots=100, capabilities=Capabilities(values={"kind": ("work",)}), local=True)
    await broker.dispatch.attach(info)
    yield broker
    await broker.close()


@pytest.fixture
def worker(broker):
    return Worker(broker)


@pytest.fixture
async def start(broker):
    async with AsyncExitStack() as stack:

        async def make(**options):
            monitor = Monitor(MonitorOptions(port=0, **options), broker.intake, resolver(broker.records))
            await monitor.start()
            stack.push_async_callback(monitor.stop)
            return monitor

        yield make


@pytest.fixture
async def monitor(start):
    return await start()


class Page:
    """What a browser has heard; ``code`` is that of the close."""

    def __init__(self, socket):
        self.socket = socket

    async def next(self):
        return await asyncio.wait_for(self.socket.recv(), 20)

    async def rest(self):
        """Return everything until the server closes."""
        heard = []
        with suppress(ConnectionClosed):
            while True:
                heard.append(await self.next())
        return heard

    @property
    def close(self):
        return self.socket.close_code, self.socket.close_reason


@pytest.fixture
async def listen():
    """Connect as a page does."""
    async with AsyncExitStack() as stack:

        async def open_page(monitor, channel, **options):
            socket = await stack.enter_async_context(connect(f"ws://127.0.0.1:{monitor.port}/ws", **options))
            await socket.send(channel)
            return Page(socket)

        yield open_page


async def submit(broker, name=None):
    records = (Record(JOBS, name, b'{"job":{job},"frames":""}'),) if name else ()
    return (await broker.intake.submit(Submit(kind="work", records=records))).job


async def test_a_job_is_told_as_it_goes(broker, worker, monitor, listen):
    await submit(broker, "student_1")
    page = await listen(monitor, "student_1")
    await worker.take()
    for words in (("DOWNLOADED",), ("STARTED",), ("TASK", "compilace č. 1", "COMPLETED"), ("ENDED",)):
        await worker.step(*words)
    heard = [await page.next() for _ in range(4)]
    assert heard == [
        '{"command": "DOWNLOADED"}',
        '{"command": "STARTED"}',
        '{"command": "TASK", "task_id": "compilace \\u010d. 1", "task_state": "COMPLETED"}',
        '{"command": "ENDED"}',
    ]
    await worker.step("UPLOADED")
    await worker.step("FINISHED")
    await worker.report()
    assert await page.rest() == ['{"command": "UPLOADED"}', FINISHED]
    assert page.close == (1000, "")


async def test_whoever_comes_late_hears_everything_and_everybody_the_same(broker, worker, monitor, listen):
    await submit(broker, "j")
    early = await listen(monitor, "j")
    await worker.take()
    await worker.step("STARTED")
    first = await early.next()
    late = await listen(monitor, "j")
    assert await late.next() == first
    await worker.step("TASK", "t", "SKIPPED")
    await worker.report()
    heard = [first, *await early.rest()]
    assert heard == [first, *await late.rest()]
    assert heard[1:] == ['{"command": "TASK", "task_id": "t", "task_state": "SKIPPED"}', FINISHED]
    again = await listen(monitor, "j")
    assert await again.rest() == heard
    assert again.close == (1000, "")


async def test_a_page_may_come_before_its_job(broker, worker, monitor, listen):
    page = await listen(monitor, "soon")
    await asyncio.sleep(0)
    await submit(broker, "soon")
    await worker.take()
    await worker.report()
    assert await page.rest() == [FINISHED]


async def test_jobs_of_other_protocols_are_shown_by_their_own_id(broker, worker, monitor, listen):
    job = await submit(broker)
    page = await listen(monitor, encode_id(job.id))
    await worker.take()
    await worker.dispatch.note(worker.lease.token, Note(progress=Progress(1, 4, "a")))
    assert await page.next() == '{"command": "PROGRESS", "done": 1, "message": "a", "total": 4}'
    await worker.dispatch.note(worker.lease.token, Note(progress=Progress(2.5, 4, "b")))
    await worker.dispatch.note(worker.lease.token, Note(log="a line for somebody else"))
    await worker.report()
    assert await page.rest() == ['{"command": "PROGRESS", "done": 2.5, "message": "b", "total": 4}', FINISHED]


async def test_of_progress_only_the_newest_is_repeated(broker, worker, monitor, listen):
    job = await submit(broker)
    page = await listen(monitor, encode_id(job.id))
    await worker.take()
    for done in range(3):
        await worker.dispatch.note(worker.lease.token, Note(progress=Progress(done, 3)))
        await page.next()
    late = await listen(monitor, encode_id(job.id))
    assert json.loads(await late.next())["done"] == 2
    await worker.report()
    assert await late.rest() == await page.rest() == [FINISHED]


@pytest.mark.parametrize("said", [(), ("STARTED",), ("FAILED",)])
async def test_a_failed_job_ends_with_failed_and_finished(broker, worker, monitor, listen, said):
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    for word in said:
        await worker.step(word)
    await worker.report(Outcome(kind=OutcomeKind.FAILED, code="x"))
    heard = await page.rest()
    assert heard == [f'{{"command": "{word}"}}' for word in said if word != "FAILED"] + [FAILED, FINISHED]


async def test_a_cancelled_job_ends_with_failed_and_finished(broker, monitor, listen):
    job = await submit(broker, "j")
    page = await listen(monitor, "j")
    await broker.intake.cancel(job.id)
    assert await page.rest() == [FAILED, FINISHED]


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [((), "errored", 1), (("STARTED",), "errored", 0), (("ABORTED",), "errored", 1), (("STARTED",), "lost", 1)],
)
async def test_an_attempt_that_is_repeated_is_aborted_and_not_finished(broker, worker, monitor, listen, said, kind, told):
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    for word in said:
        await worker.step(word)
    await worker.report(Outcome(kind=OutcomeKind(kind), message="again"))
    await worker.take()
    await worker.step("STARTED")
    await worker.report()
    heard = [json.loads(text)["command"] for text in await page.rest()]
    assert heard.count("ABORTED") == told
    assert heard[-1] == "FINISHED"
    assert heard.count("FINISHED") == 1


async def test_finished_closes_even_if_the_job_has_not_ended(broker, worker, monitor, listen):
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    await worker.step("FINISHED")
    assert await page.rest() == [FINISHED]
    # It was not the end after all: who comes now hears of the next attempt.
    await worker.report(Outcome(kind=OutcomeKind.LOST))
    await worker.take()
    await worker.step("STARTED")
    page = await listen(monitor, "j")
    assert await page.next() == '{"command": "ABORTED"}'
    assert await page.next() == '{"command": "STARTED"}'


async def test_late_steps_of_a_worker_come_before_the_end(broker, worker, start, listen):
    monitor = await start(grace=20)
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    await worker.step("ENDED")
    await worker.report()
    assert await page.next() == '{"command": "ENDED"}'
    monitor.hub.raw("j", [b"UPLOADED"])
    assert await page.next() == '{"command": "UPLOADED"}'
    begun = time.monotonic()
    monitor.hub.raw("j", [b"FINISHED"])
    assert await page.rest() == [FINISHED]
    assert time.monotonic() - begun < 15
    again = await listen(monitor, "j")
    assert await again.rest() == ['{"command": "ENDED"}', '{"command": "UPLOADED"}', FINISHED]


async def test_finished_of_a_worker_that_lost_the_job_ends_nothing(broker, worker, monitor, listen):
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    await worker.step("STARTED")
    await page.next()
    monitor.hub.raw("j", [b"FINISHED"])
    monitor.hub.raw("j", [b"ODD", b"1"])
    assert await page.next() == '{"command": "ODD", "task_id": "1"}'
    await worker.step("ENDED")
    assert await page.next() == '{"command": "ENDED"}'


async def test_waiting_costs_nothing(broker, worker, monitor, listen):
    await submit(broker, "j")
    pages = [await listen(monitor, name) for name in ("j", "ghost")]
    await worker.take()
    for name, page in zip(("j", "ghost"), pages, strict=True):
        monitor.hub.raw(name, [b"ODD"])
        await page.next()
    begun = time.process_time()
    await asyncio.sleep(1)
    assert time.process_time() - begun < 0.5


async def test_progress_of_unknown_jobs_reaches_those_who_listen_and_is_kept(monitor, listen):
    page = await listen(monitor, "ghost")
    monitor.hub.raw("ghost", [b"STARTED"])
    assert await page.next() == '{"command": "STARTED"}'
    monitor.hub.raw("ghost", [b"\xff"])
    monitor.hub.raw("ghost", [])
    monitor.hub.raw("ghost", [b"TASK", b"t", b"FAILED", b"more"])
    monitor.hub.raw("ghost", [b"FINISHED"])
    told = ['{"command": "TASK", "task_id": "t", "task_state": "FAILED"}', FINISHED]
    assert await page.rest() == told
    late = await listen(monitor, "ghost")
    assert await late.rest() == ['{"command": "STARTED"}', *told]
    assert late.close == (1000, "")


async def test_a_job_that_was_rejected_is_finished(monitor, listen):
    page = await listen(monitor, "rejected")
    monitor.hub.raw("rejected", [b"FAILED"])
    assert await page.rest() == [FAILED, FINISHED]
    late = await listen(monitor, "rejected")
    assert await late.rest() == [FAILED, FINISHED]


async def test_a_job_that_was_rejected_and_then_taken_is_told(broker, worker, start, listen):
    monitor = await start(grace=20)
    page = await listen(monitor, "j")
    monitor.hub.raw("j", [b"FAILED"])
    assert await page.next() == FAILED
    await submit(broker, "j")
    await worker.take()
    await worker.report()
    assert await page.rest() == [FINISHED]


async def test_what_is_kept_goes_after_a_while(start, listen):
    monitor = await start(keep=0.05)
    monitor.hub.raw("ghost", [b"FINISHED"])
    await asyncio.sleep(0.1)
    page = await listen(monitor, "ghost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(page.socket.recv(), 0.5)


async def test_what_an_earlier_job_of_the_same_id_said_is_not_repeated(broker, worker, monitor, listen):
    monitor.hub.raw("j", [b"FAILED"])
    monitor.hub.raw("j", [b"FINISHED"])
    await asyncio.sleep(0.01)
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await worker.take()
    await worker.step("STARTED")
    assert await page.next() == '{"command": "STARTED"}'


async def test_a_listener_that_takes_nothing_is_dropped_and_delays_nobody(broker, worker, start, listen):
    monitor = await start(patience=1)
    await submit(broker, "j")
    slow, quick = await listen(monitor, "j", max_queue=1, ping_interval=None), await listen(monitor, "j")
    slow.socket.transport.pause_reading()
    await worker.take()
    text, count = "x" * 40_000, 200
    for number in range(count):
        await worker.step("TASK", text, str(number))
        assert json.loads(await quick.next())["task_state"] == str(number)
    async with asyncio.timeout(20):
        while not monitor.hub.dropped:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    await worker.report()
    assert await quick.rest() == [FINISHED]
    slow.socket.transport.resume_reading()
    assert FINISHED not in await slow.rest()


async def test_a_listener_that_was_slow_for_a_while_misses_nothing(broker, worker, start, listen):
    monitor = await start()
    await submit(broker, "j")
    slow, quick = await listen(monitor, "j"), await listen(monitor, "j")
    slow.socket.transport.pause_reading()
    await worker.take()
    for number in range(200):
        await worker.step("TASK", "x" * 40_000, str(number))
        await quick.next()
    assert monitor.hub._lagging
    slow.socket.transport.resume_reading()
    await worker.report()
    assert [json.loads(text).get("task_state") for text in await slow.rest()] == [*map(str, range(200)), None]
    assert slow.close == (1000, "")


async def test_who_asks_too_much_is_turned_away(start, listen):
    monitor = await start(connections=2, message=100, greeting=0.2)
    first, _ = await listen(monitor, "a"), await listen(monitor, "b")
    with pytest.raises(InvalidStatus) as refused:
        await listen(monitor, "c")
    assert refused.value.response.status_code == 503
    await first.socket.send("x" * 200)
    assert await first.rest() == []
    assert first.close[0] == 1009
    async with connect(f"ws://127.0.0.1:{monitor.port}") as silent:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(silent.recv(), 10)
        assert silent.close_code == 1008
    async with connect(f"ws://127.0.0.1:{monitor.port}") as binary:
        await binary.send(b"x")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(binary.recv(), 10)
        assert binary.close_code == 1003


async def test_nothing_is_left_of_listeners_that_went(broker, monitor, listen):
    await submit(broker, "j")
    pages = [await listen(monitor, name) for name in ("j", "j", "unknown", "\u0159" * 100)]
    async with asyncio.timeout(10):
        while len(monitor.hub._tasks) < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    for page in pages:
        await page.socket.send("what is said later is not read")
        await page.socket.close()
    async with asyncio.timeout(10):
        while monitor.hub._tasks or monitor.hub._channels or monitor.listeners:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_what_is_kept_is_bounded(monitor):
    for number in range(30_000):
        monitor.hub.raw(f"ghost-{number}", [b"STARTED"])
    monitor.hub.raw("x" * 2000, [b"STARTED"])
    monitor.hub.raw("long", [b"x" * 100_000])
    assert 0 < len(monitor.hub._kept) <= 20_000
    assert monitor.hub._kept_count == sum(map(len, monitor.hub._kept.values()))
    for _ in range(3000):
        monitor.hub.raw("one", [b"STARTED"])
    assert len(monitor.hub._kept["one"]) == 1000


async def test_the_server_says_goodbye(broker, start, listen):
    monitor = await start()
    await submit(broker, "j")
    page = await listen(monitor, "j")
    await monitor.stop()
    assert await page.rest() == []
    assert page.close[0] == 1001
    await monitor.stop()


async def test_of_an_array_it_is_told_how_many_members_have_ended(broker, worker, monitor, listen):
    job = (await broker.intake.submit(Submit(kind="work", array=ArraySpec(count=3)))).job
    page = await listen(monitor, encode_id(job.id))
    while leases := await broker.dispatch.claim("local/w", 9, 0.1):
        for lease in leases:
            told = [MemberOutcome(index=index, outcome=OK) for index in lease.members.indexes]
            await broker.dispatch.report_members(lease.token, told)
            await broker.dispatch.report(lease.token, OK)
    *told, finished = await page.rest()
    assert finished == FINISHED
    assert json.loads(told[0]) == {"command": "PROGRESS", "done": 1, "message": "", "total": 3}


async def test_progress_that_is_no_number_is_passed_over(broker, worker, monitor, listen):
    page = await listen(monitor, encode_id((await submit(broker)).id))
    await worker.take()
    await broker.dispatch.note(worker.lease.token, Note(progress=Progress(float("nan"), 4)))
    await broker.dispatch.note(worker.lease.token, Note(progress=Progress(1, 4)))
    await worker.report()
    progress, finished = await page.rest()
    assert json.loads(progress)["done"] == 1
    assert finished == FINISHED


async def test_a_channel_that_fails_sends_its_listeners_away(broker, listen):
    async def resolve(channel):
        raise ValueError(channel)

    monitor = Monitor(MonitorOptions(port=0), broker.intake, resolve)
    await monitor.start()
    try:
        page = await listen(monitor, "j")
        assert await page.rest() == []
        assert page.close == (1006, "")
    finally:
        await monitor.stop()
