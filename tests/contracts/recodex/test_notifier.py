"""The notifier against a real web server that plays the application."""

import asyncio
import base64
import contextlib
import time
from urllib.parse import parse_qs

import pytest

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.jobs import Outcome, OutcomeKind, Subscriber
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Submit, WorkerInfo
from crossdock.http.egress import Egress
from crossdock.protocols.recodex.messages import CHANNEL, Owed
from crossdock.protocols.recodex.notifier import Notifier, NotifierOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore

KINDS = {
    "evaluation": Kind(name="evaluation", policy=Policy(attempts=1)),
    "echo": Kind(name="echo", policy=Policy(attempts=1)),
    "brief": Kind(name="brief", policy=Policy(attempts=1, keep=0.0)),
}


class Clock:
    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@pytest.fixture
def applications(receivers):
    """Start web servers."""
    return receivers


@pytest.fixture
async def application(applications):
    return await applications()


@pytest.fixture
async def brokers(tmp_path):
    """Open brokers, one after the other, on the same store."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(store=None):
            store = store or SqliteStore(tmp_path / "jobs.db")
            artifacts = file_artifacts(tmp_path / "artifacts")
            broker = Broker(store=store, artifacts=artifacts, signals=LocalSignals(), clock=Clock(), kinds=KINDS)
            await broker.open()
            stack.push_async_callback(broker.close)
            info = WorkerInfo(id="local/w", slots=100, capabilities=Capabilities(values={"kind": tuple(KINDS)}), local=True)
            await broker.dispatch.attach(info)
            return broker

        yield start


@pytest.fixture
async def broker(brokers):
    return await brokers(MemoryStore())


@pytest.fixture
async def notify():
    """Start notifiers."""
    tasks = []

    def start(broker, url, egress=None, **options):
        options = {"first": 0.01, "timeout": 20, **options}
        egress = egress or Egress(private=True)
        notifier = Notifier(NotifierOptions(url=url, **options), broker.intake, broker.outbox, broker.artifacts, egress)
        tasks.append(asyncio.create_task(notifier.run()))
        notifier.task = tasks[-1]
        return notifier

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def end(broker, address, outcome=None, kind="evaluation"):
    """Run a job to its end; without an outcome it succeeds."""
    if isinstance(address, Owed):
        address = address.address()
    subscriber = Subscriber(CHANNEL, address)
    job = (await broker.intake.submit(Submit(kind=kind, notify=(subscriber,)))).job
    [lease] = await broker.dispatch.claim("local/w", 1, 10)
    outcome = outcome or Outcome(kind=OutcomeKind.SUCCEEDED, result=b'{"ok":true}')
    await broker.dispatch.report(lease.token, outcome)
    return job


def failure(message):
    return Outcome(kind=OutcomeKind.FAILED, code="x", message=message)


async def nothing_owed(broker):
    async with asyncio.timeout(20):
        while await broker._desk.store.notifications(0, 10):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.01)


async def test_a_success_is_told(broker, application, notify):
    notifier = notify(broker, f"{application.url}/api/v1/broker-reports/", username="broker", password="s: ř")
    await end(broker, Owed("student_1"))
    method, path, headers, body = await application.next()
    assert (method, path, body) == ("POST", "/api/v1/broker-reports/job-status/student_1", b"status=OK")
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["authorization"] == "Basic " + base64.b64encode("broker:s: ř".encode()).decode()
    await nothing_owed(broker)
    assert notifier.counts.delivered == 1


async def test_without_credentials_none_are_sent_and_plain_ids_are_understood(broker, application, notify):
    notify(broker, application.url)
    await end(broker, "student_1")
    _, path, headers, _ = await application.next()
    assert path == "/job-status/student_1"
    assert "authorization" not in headers


@pytest.mark.parametrize("message", ["why it=failed & more&status=OK", "100 %+ ř\n", "", "x" * 20_000])
async def test_a_failure_is_told_with_its_message_whatever_that_is(broker, application, notify, message):
    notify(broker, application.url)
    await end(broker, Owed("j"), failure(message))
    body = (await application.next())[3].decode()
    assert body.startswith("message=")
    assert parse_qs(body, keep_blank_values=True) == {"message": [(message or "x")[:16384]], "status": ["FAILED"]}


@pytest.mark.parametrize("name", ["a/b?c#d e%2F", "..", "\u0159", "%"])
async def test_an_id_is_one_segment_of_the_path(broker, application, notify, name):
    notify(broker, f"{application.url}/base")
    await end(broker, Owed(name))
    path = await application.path()
    assert path.startswith("/base/job-status/")
    quoted = path.removeprefix("/base/job-status/")
    assert not set("/?# ") & set(quoted)
    assert quoted not in {".", ".."}


async def test_a_cancelled_job_is_told_as_failed(broker, application, notify):
    notify(broker, application.url)
    subscriber = Subscriber(CHANNEL, Owed("j").address())
    job = (await broker.intake.submit(Submit(kind="echo", notify=(subscriber,)))).job
    await broker.intake.cancel(job.id)
    assert (await application.next())[3] == b"message=cancelled&status=FAILED"


@pytest.mark.parametrize("refused", [400, 401, 404, 302, 500, 503])
async def test_whatever_the_answer_it_is_told_again(broker, application, notify, refused):
    application.answers = {"/job-status/j": [refused] * 5}
    notifier = notify(broker, application.url)
    await end(broker, Owed("j"))
    assert [await application.path() for _ in range(6)] == ["/job-status/j"] * 6
    await nothing_owed(broker)
    assert (notifier.counts.failed, notifier.counts.delivered, notifier.counts.given_up) == (5, 1, 0)


async def test_what_fails_is_in_nobodys_way_and_keeps_its_order(broker, application, notify):
    application.answers = {"/job-status/bad": [500] * 5}
    notify(broker, application.url, first=0.1)
    await end(broker, Owed("bad"), failure("first"))
    await end(broker, Owed("bad"), failure("second"))
    for number in range(20):
        await end(broker, Owed(f"good-{number}"))
    told = [await application.next() for _ in range(27)]
    assert [body for _, path, _, body in told if path.endswith("/bad")] == [b"message=first&status=FAILED"] * 6 + [
        b"message=second&status=FAILED"
    ]
    assert len({path for _, path, _, _ in told}) == 21
    assert max(number for number, each in enumerate(told) if "good" in each[1]) < 26
    await nothing_owed(broker)


async def test_several_are_under_way_but_not_too_many(broker, application, notify):
    gate = asyncio.Event()
    application.hang = {f"/job-status/{number}": gate for number in range(10)}
    notify(broker, application.url, parallel=4)
    for number in range(10):
        await end(broker, Owed(str(number)))
    for _ in range(4):
        await application.next()
    gate.set()
    for _ in range(6):
        await application.next()
    await nothing_owed(broker)
    assert application.most == 4


async def test_an_application_that_hangs_is_given_up_for_the_moment(broker, application, notify):
    application.hang = {"/job-status/j": asyncio.Event()}
    notify(broker, application.url, timeout=0.2)
    await end(broker, Owed("j"))
    assert [await application.path() for _ in range(3)] == ["/job-status/j"] * 3
    application.hang["/job-status/j"].set()
    await nothing_owed(broker)


async def test_a_burst_is_told_completely(broker, application, notify):
    notify(broker, application.url)
    for number in range(200):
        await end(broker, Owed(str(number)))
    assert {await application.path() for _ in range(200)} == {f"/job-status/{number}" for number in range(200)}
    await nothing_owed(broker)


async def test_a_restart_forgets_nothing(brokers, application, notify):
    first = await brokers()
    application.answers = {"/job-status/j": [500]}
    notifier = notify(first, application.url, first=0.3)
    await end(first, Owed("j"))
    await application.next()
    notifier.task.cancel()
    await asyncio.gather(notifier.task, return_exceptions=True)
    await first.close()
    second = await brokers()
    notify(second, application.url)
    assert await application.path() == "/job-status/j"
    await nothing_owed(second)


async def test_when_the_time_of_the_job_is_over_it_is_given_up(broker, application, notify):
    application.answers = {"/job-status/j": [500] * 100}
    notifier = notify(broker, application.url)
    await end(broker, Owed("j"), kind="brief")
    await nothing_owed(broker)
    assert notifier.counts.given_up == 1


# Results of other kinds


async def test_the_result_of_another_kind_is_put_before_the_call(broker, applications, notify):
    application, files = await applications(), await applications()
    notify(broker, application.url, results={f"{files.url}/results": ("u", "p")})
    for name, result in (("small", b'{"ok":true}'), ("large", b'"' + b"x" * 200_000 + b'"')):
        files.answers = {f"/results/{name}": [503]}
        outcome = Outcome(kind=OutcomeKind.SUCCEEDED, result=result)
        await end(broker, Owed(name, f"{files.url}/results/{name}", "echo"), outcome, kind="echo")
        await files.next()
        assert application.requests.empty()
        method, path, headers, body = await files.next()
        assert (method, path, body, headers["content-type"]) == ("PUT", f"/results/{name}", result, "application/json")
        assert headers["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
        assert (await application.next())[1:4:2] == (f"/job-status/{name}", b"status=OK")
    await nothing_owed(broker)


async def test_without_a_web_application_results_are_put_and_nothing_stays_owed(broker, applications, notify):
    files = await applications()
    notifier = notify(broker, "")
    notifier.error("nobody hears it")
    await end(broker, "a", failure("no"))
    await end(broker, Owed("b", f"{files.url}/results/b", "echo"), kind="echo")
    assert (await files.next())[:2] == ("PUT", "/results/b")
    await nothing_owed(broker)
    assert (notifier.counts.delivered, notifier.counts.failed) == (2, 0)


async def test_a_failure_of_another_kind_puts_nothing(broker, applications, notify):
    application, files = await applications(), await applications()
    notify(broker, application.url)
    await end(broker, Owed("j", f"{files.url}/r", "echo"), failure("bad"), kind="echo")
    assert (await application.next())[3] == b"message=bad&status=FAILED"
    assert files.requests.empty()


@pytest.mark.parametrize(
    "url", ["{files}/gone", "http://[", "http://127.0.0.1:99999/", "ftp://x/", "http://169.254.169.254/"]
)
async def test_a_result_that_cannot_be_put_makes_a_failure(broker, applications, notify, url):
    application, files = await applications(), await applications()
    files.answers = {"/gone": [404] * 100}
    notify(broker, application.url, refusals=3)
    await end(broker, Owed("j", url.format(files=files.url), "echo"), kind="echo")
    fields = parse_qs((await application.next())[3].decode())
    assert fields["status"] == ["FAILED"]
    assert fields["message"][0].startswith("The result could not be put to its URL: ")
    await nothing_owed(broker)
    assert files.requests.qsize() in {0, 3}


async def test_results_go_only_where_requests_may_lead(broker, applications, notify):
    application, files = await applications(), await applications()
    notify(broker, application.url, egress=Egress((f"{files.url}/open",)), refusals=1)
    await end(broker, Owed("j", f"{files.url}/closed", "echo"), kind="echo")
    assert b"FAILED" in (await application.next())[3]
    await end(broker, Owed("j", f"{files.url}/open", "echo"), kind="echo")
    assert (await application.next())[3] == b"status=OK"
    assert await files.path() == "/open"


async def test_a_host_of_results_that_hangs_is_in_nobodys_way(broker, applications, notify):
    application, files = await applications(), await applications()
    files.hang = {"/r": asyncio.Event()}
    notify(broker, application.url, parallel=1)
    for number in range(3):
        await end(broker, Owed(f"slow-{number}", f"{files.url}/r", "echo"), kind="echo")
    await files.next()
    await end(broker, Owed("quick"))
    assert await application.path() == "/job-status/quick"
    files.hang["/r"].set()
    assert {await application.path() for _ in range(3)} == {f"/job-status/slow-{number}" for number in range(3)}


# Reports that concern no job of ours


async def test_errors_and_jobs_of_others_are_told(broker, application, notify):
    application.answers = {"/base/error": [500, 500]}
    notifier = notify(broker, f"{application.url}/base", username="u")
    notifier.error("a & b")
    notifier.job_status("orphan/1", "OK", "ignored")
    notifier.job_status("orphan", "FAILED", "why")
    told = [await application.next() for _ in range(5)]
    assert [(path, body) for _, path, _, body in told] == [
        *[("/base/error", b"message=a+%26+b")] * 3,
        ("/base/job-status/orphan%2F1", b"status=OK"),
        ("/base/job-status/orphan", b"message=why&status=FAILED"),
    ]
    assert all("authorization" in headers for _, _, headers, _ in told)


async def test_reports_are_bounded(broker, application, notify):
    notifier = notify(broker, application.url)
    for number in range(1500):
        notifier.error(str(number))
    assert notifier.counts.dropped == 500
    assert (await application.next())[3] == b"message=500"
