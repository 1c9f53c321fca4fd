"""Our clients against our server and against the public one; the public client against ours."""

import asyncio
import contextlib
import threading

import pytest
from quick_server import WorkerError as QuickError
from quick_server import worker_request

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.longpost import AsyncLongpostClient, Delays, GoneError, LongpostClient, LongpostOptions, WorkerError

FAST = Delays(initial=0.02, step=0.01)
PAYLOADS = [{}, {"a": [1, None, {"b": "ä😀"}]}, [1, 2], "text", 7]


@pytest.fixture
def options():
    return LongpostOptions(chunk=100)


@contextlib.asynccontextmanager
async def caller(form, url, **options):
    """Yield ``run(payload, **options)`` of either form of our client."""
    if form == "async":
        async with AsyncLongpostClient(url, delays=FAST, **options) as client:
            yield client.run
    else:
        with LongpostClient(url, delays=FAST, **options) as client:
            yield lambda *args, **options: asyncio.to_thread(client.run, *args, **options)


@pytest.mark.parametrize("form", ["async", "sync"])
class TestOurClients:
    @pytest.mark.parametrize("payload", PAYLOADS)
    async def test_quick_results(self, endpoint, form, payload):
        async with caller(form, endpoint.url("echo")) as run:
            assert await run(payload) == payload

    async def test_slow_results_are_polled_for(self, endpoint, form):
        pauses = []
        async with caller(form, endpoint.url("slow")) as run:
            assert await run(0.3, on_poll=pauses.append) == 0.3
        assert pauses[:3] == pytest.approx([0.02, 0.03, 0.04])

    @pytest.mark.parametrize("text", ["x", "é", "😀", 'a"\\'])
    async def test_long_results_are_joined(self, endpoint, form, text):
        async with caller(form, endpoint.url("big")) as run:
            assert await run([text, 300]) == text * 300

    async def test_a_result_that_is_too_large_is_not_read(self, endpoint, form):
        async with caller(form, endpoint.url("big"), max_result=2000) as run:
            assert await run(["x", 300]) == "x" * 300
            with pytest.raises(CrossdockError) as caught:
                await run(["x", 3000])
            assert caught.value.code is Code.TOO_LARGE
            assert await run(["x", 300]) == "x" * 300

    async def test_failures_carry_their_status(self, endpoint, form):
        async with caller(form, endpoint.url("fail")) as run:
            with pytest.raises(WorkerError) as caught:
                await run([418, "teapot"])
        assert caught.value.status == 418
        assert "teapot" in caught.value.message

    async def test_exceptions_are_500(self, endpoint, form):
        async with caller(form, endpoint.url("boom")) as run:
            with pytest.raises(WorkerError) as caught:
                await run({})
        assert caught.value.status == 500
        assert "secret" not in caught.value.message

    async def test_giving_up_stops_the_task(self, endpoint, form):
        async with caller(form, endpoint.url("stopped")) as stopped, caller(form, endpoint.url("slow")) as run:
            before = await stopped(None)
            with pytest.raises(TimeoutError):
                await run(5, timeout=0.2)
            while await stopped(None) == before:  # noqa: ASYNC110 - the worker may be in another process
                await asyncio.sleep(0.02)

    async def test_unknown_places_are_errors(self, place, form):
        async with caller(form, place.url("nothing")) as run:
            with pytest.raises(WorkerError) as caught:
                await run({})
        assert caught.value.status == 404


async def test_start_result_and_stop_one_by_one(endpoint):
    async with AsyncLongpostClient(endpoint.url("slow"), delays=FAST) as client:
        task = await client.start(0.3)
        assert task.token is not None
        assert await client.result(task) == 0.3
        other = await client.start(5)
        await client.stop(other)
        await client.stop(other)


async def test_a_task_that_somebody_stopped_is_gone(endpoint):
    async with AsyncLongpostClient(endpoint.url("slow"), delays=FAST) as client:
        task = await client.start(5)
        twin = await client.start(5)
        twin.polling.token = task.polling.token
        await client.stop(twin)
        with pytest.raises(GoneError):
            await client.result(task)


async def test_cancelling_the_caller_stops_the_task(place):
    polls = asyncio.Event()
    async with AsyncLongpostClient(place.url("held"), delays=FAST) as client:
        running = asyncio.create_task(client.run({}, on_poll=lambda _: polls.set()))
        await polls.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await place.stopped() == 1


async def test_a_restart_of_the_server_goes_unnoticed(place):
    async with AsyncLongpostClient(place.url("held"), delays=Delays(initial=0.2)) as client:
        task = await client.start({"a": 1})
        waiting = asyncio.create_task(client.result(task, timeout=20))
        await place.restart()
        place.release.set()
        assert await waiting == {"a": 1}


class TestThePublicClient:
    @pytest.mark.parametrize("payload", PAYLOADS)
    async def test_quick_results(self, place, payload):
        assert await asyncio.to_thread(worker_request, place.url("echo"), payload) == payload

    async def test_slow_results(self, place):
        assert await asyncio.to_thread(worker_request, place.url("slow"), 0.7) == 0.7

    @pytest.mark.parametrize("text", ["x", "é", "😀", 'a"\\'])
    async def test_long_results(self, place, text):
        assert await asyncio.to_thread(worker_request, place.url("big"), [text, 300]) == text * 300

    async def test_failures(self, place):
        with pytest.raises(QuickError) as caught:
            await asyncio.to_thread(worker_request, place.url("fail"), [404, "no such thing"])
        assert caught.value.get_status_code() == 404
        assert "no such thing" in str(caught.value)

    async def test_a_late_failure_is_told_and_the_stop_after_it_ends(self, place):
        place.free.clear()
        threading.Timer(0.3, place.loop.call_soon_threadsafe, (place.free.set,)).start()
        with pytest.raises(QuickError) as caught:
            await asyncio.to_thread(worker_request, place.url("boom"), {})
        assert caught.value.get_status_code() == 500

    async def test_a_cancelled_job(self, place):
        asking = asyncio.create_task(asyncio.to_thread(worker_request, place.url("held"), {}))
        await place.claimed.wait()
        [job] = (await place.broker.intake.search(place.running())).jobs
        await place.broker.intake.cancel(job.id, "hard")
        with pytest.raises(ValueError, match="timed out"):
            await asking

    async def test_many_at_once(self, place):
        numbers = range(50)
        answers = await asyncio.gather(*[asyncio.to_thread(worker_request, place.url("echo"), number) for number in numbers])
        assert answers == list(numbers)
