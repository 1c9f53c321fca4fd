"""Both clients against an installation whose every word the test decides."""

import asyncio
import base64
import gzip
import io
import json
import socket
import zipfile

import pytest
import zmq
from zmq.auth import create_certificates

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Step
from crossdock.protocols.recodex.client import AsyncRecodexClient, RecodexClient, calls

from .installation import PATIENCE, Broker, Installation

CONFIG = b"""\
submission: {job-id: old, hw-groups: [g1, g2]}
tasks:
- {task-id: run, type: execution, test-id: A}
- {task-id: judge, type: evaluation, test-id: A}
"""
RESULT = b"""\
job-id: j
hw-group: g1
results:
- {task-id: run, status: OK, sandbox_results: {status: OK, time: 0.25, memory: 100}}
- {task-id: judge, status: OK, output: {stdout: 1.0}}
"""


class Blocking:
    """The client for asyncio with the methods of the one that blocks."""

    def __init__(self, *arguments, **options):
        self.runner = asyncio.Runner()
        self.client = self.run(self._make(*arguments, **options))

    def run(self, coroutine):
        return self.runner.run(coroutine)

    async def _make(self, *arguments, **options):
        return AsyncRecodexClient(*arguments, **options)

    async def _all(self, steps):
        return [step async for step in steps]

    def follow(self, *arguments, **options):
        return self.run(self._all(self.client.follow(*arguments, **options)))

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return lambda *arguments, **options: self.run(method(*arguments, **options))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run(self.client.close())
        self.runner.close()


@pytest.fixture(params=[RecodexClient, Blocking])
def client_class(request):
    return request.param


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(calls, "RECONNECT", 0.01)
    installation = Installation()
    yield installation
    installation.close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_bytes(b"print(1)\n")
    (tmp_path / "job-config.yml").write_bytes(CONFIG)
    return tmp_path


@pytest.fixture
def client(there, client_class):
    with client_class(there.url, timeout=PATIENCE) as client:
        yield client


def told(command, *task) -> str:
    return json.dumps(dict(zip(("command", "task_id", "task_state"), (command, *task), strict=False)))


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("result/result.yml", RESULT)
    return buffer.getvalue()


def submitted(there, client, folder, **options):
    there.broker.replies.put([[b"ack"], [b"accept"]])
    return client.submit(folder, **options)


def test_from_the_files_to_the_verdict(there, client, folder):
    job = submitted(there, client, folder, headers=[("env", "python3")])
    assert job.id.startswith("student_")
    base = f"http://127.0.0.1:{there.files.port}"
    assert there.broker.heard.get(timeout=PATIENCE) == [
        b"eval",
        job.id.encode(),
        b"hwgroup=g1|g2",
        b"env=python3",
        b"",
        f"{base}/submission_archives/{job.id}.zip".encode(),
        f"{base}/results/{job.id}.zip".encode(),
    ]
    assert there.files.posted[job.id] == {
        "job-config.yml": CONFIG.replace(b"old", f"'{job.id}'".encode()),
        "src/main.py": b"print(1)\n",
    }
    there.monitor.scripts.put([told("STARTED"), told("TASK", "run", "COMPLETED"), told("FINISHED")])
    assert list(client.follow(job)) == [Step("STARTED"), Step("TASK", "run", "COMPLETED"), Step("FINISHED")]
    assert there.monitor.asked.get(timeout=PATIENCE) == job.id
    there.files.results[f"/results/{job.id}.zip"] = archive()
    verdict = client.result(job)
    assert (verdict.passed, verdict.tests[0].time, verdict.tests[0].memory) == (True, 0.25, 100)
    assert client.archive(job) == there.files.results[f"/results/{job.id}.zip"]


def test_an_archive_that_the_server_compresses_is_not_undone(there, client, folder):
    job = submitted(there, client, folder)
    there.files.results[f"/results/{job.id}.zip"] = gzip.compress(gzip.compress(bytes(1_000_000)))
    there.files.encoding = "gzip, gzip"
    with pytest.raises(CrossdockError, match="compresses") as caught:
        client.archive(job)
    assert caught.value.code is Code.INTERNAL


def test_the_id_may_be_given_and_an_archive_be_submitted(there, client, folder):
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.write(folder / "job-config.yml", "top/job-config.yml")
    assert submitted(there, client, path, job_id="reference_1").id == "reference_1"
    assert list(there.files.posted["reference_1"]) == ["job-config.yml"]


def test_a_rejection_says_why(there, client, folder):
    there.broker.replies.put([[b"ack"], [b"reject", b"No worker available for given headers: env=c; "]])
    with pytest.raises(CrossdockError) as caught:
        client.submit(folder)
    assert caught.value.code is Code.CONFLICT
    assert caught.value.message == "the broker rejects the job: No worker available for given headers: env=c;"
    assert submitted(there, client, folder)


def test_the_oldest_dialect(there, client_class, folder):
    there.broker.replies.put([[b"accept"]])
    with client_class(there.url + "&separator=no", timeout=PATIENCE) as client:
        job = client.submit(folder, [("hwgroup", "g")])
    assert there.broker.heard.get(timeout=PATIENCE)[1:-2] == [job.id.encode(), b"hwgroup=g"]


def test_counters_and_freezing(there, client):
    there.broker.replies.put([[b"queued-jobs", b"7", b"is-frozen", b"0"]])
    assert client.stats() == {"queued-jobs": 7, "is-frozen": 0}
    for ask in (client.freeze, client.unfreeze):
        there.broker.replies.put([[b"ack"]])
        ask()
    assert [there.broker.heard.get(timeout=PATIENCE) for _ in range(3)] == [
        [b"get-runtime-stats"],
        [b"freeze"],
        [b"unfreeze"],
    ]


def hurry(there, client, seconds) -> None:
    """Have the client, once it is connected, wait for the broker for so long."""
    there.broker.replies.put([[b"ack"]])
    client.unfreeze()
    getattr(client, "client", client)._timeout = seconds


def test_a_late_answer_is_not_taken_for_another(there, client):
    hurry(there, client, 0.2)
    there.broker.replies.put([])
    with pytest.raises(CrossdockError) as caught:
        client.stats()
    assert caught.value.code is Code.UNAVAILABLE
    getattr(client, "client", client)._timeout = PATIENCE
    there.broker.replies.put([(b"queued-jobs", b"1"), [b"queued-jobs", b"2"]])
    assert client.stats() == {"queued-jobs": 2}


def test_a_broker_that_only_acknowledges(there, client, folder):
    hurry(there, client, 0.5)
    there.broker.replies.put([[b"ack"]])
    with pytest.raises(CrossdockError, match="it may run nevertheless"):
        client.submit(folder)


def test_nobody_there(client_class, folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with client_class(f"recodex+tcp://127.0.0.1:{port}?files=http://127.0.0.1:{port}", timeout=0.2) as client:
            with pytest.raises(CrossdockError) as caught:
                client.submit(folder)
            assert caught.value.code is Code.UNAVAILABLE
            with pytest.raises(CrossdockError, match=f"tcp://127.0.0.1:{port} did not answer within 0.2 s"):
                client.freeze()


def test_the_file_server_may_want_a_password(there, client_class, folder):
    there.files.credentials = "Basic " + base64.b64encode(b"me:secret").decode()
    with client_class(there.url + "&username=me", password="wrong") as client, pytest.raises(CrossdockError) as caught:
        client.submit(folder)
    assert caught.value.code is Code.UNAUTHORIZED
    with client_class(there.url + "&username=me", password="secret", timeout=PATIENCE) as client:
        assert submitted(there, client, folder)


def test_a_broken_connection_to_the_monitor_is_taken_up_again(there, client, folder):
    job = submitted(there, client, folder)
    there.monitor.scripts.put([told("STARTED")])
    there.monitor.scripts.put([])
    there.monitor.scripts.put([told("STARTED"), told("ENDED"), told("FINISHED")])
    assert [step.phase for step in client.follow(job)] == ["STARTED", "ENDED", "FINISHED"]
    assert there.monitor.asked.qsize() == 3


def test_a_job_that_the_broker_gives_up_ends_without_finished(there, client, folder, monkeypatch):
    monkeypatch.setattr(calls, "LAST_WORDS", 0.05)
    job = submitted(there, client, folder)
    there.monitor.scripts.put([told("ABORTED"), told("FAILED"), None])
    assert [step.phase for step in client.follow(job)] == ["ABORTED", "FAILED"]


def test_following_has_an_end(there, client, folder):
    job = submitted(there, client, folder)
    there.monitor.scripts.put([told("STARTED"), None])
    with pytest.raises(TimeoutError):
        list(client.follow(job, timeout=0.3))


def test_a_monitor_that_is_not_there(there, client, folder, monkeypatch):
    monkeypatch.setattr(calls, "AWAY", 0.05)
    job = submitted(there, client, folder)
    there.monitor.close()
    with pytest.raises(CrossdockError) as caught:
        list(client.follow(job))
    assert caught.value.code is Code.UNAVAILABLE


def test_without_a_monitor_there_is_no_following(there, client_class, folder):
    with client_class(there.url.partition("&")[0], timeout=PATIENCE) as client:
        job = submitted(there, client, folder)
        with pytest.raises(CrossdockError, match="names no monitor"):
            list(client.follow(job))


def test_results_are_waited_for(there, client, folder):
    job = submitted(there, client, folder)
    with pytest.raises(CrossdockError) as caught:
        client.result(job, timeout=0.1)
    assert caught.value.code is Code.NOT_FOUND
    assert there.files.asked > 1


def test_a_broker_behind_curve(client_class, tmp_path):
    server_public, server_secret = create_certificates(tmp_path, "server")
    _, client_secret = create_certificates(tmp_path, "client")
    public, secret = zmq.auth.load_certificate(server_secret)
    broker = Broker()
    broker.socket.unbind(broker.socket.last_endpoint)
    broker.socket.curve_server, broker.socket.curve_publickey, broker.socket.curve_secretkey = True, public, secret
    broker.port = broker.socket.bind_to_random_port("tcp://127.0.0.1")
    broker.start()
    keys = f"&server_key={server_public}&secret_key={client_secret}"
    try:
        broker.replies.put([[b"queued-jobs", b"1"]])
        with client_class(f"recodex+tcp://127.0.0.1:{broker.port}?files=http://f{keys}", timeout=PATIENCE) as client:
            assert client.stats() == {"queued-jobs": 1}
    finally:
        broker.close()


def test_keys_that_are_none(client_class, tmp_path):
    url = f"recodex+tcp://127.0.0.1:1?files=http://f&server_key={tmp_path}/x&secret_key={tmp_path}/y"
    with client_class(url) as client, pytest.raises(CrossdockError) as caught:
        client.stats()
    assert caught.value.code is Code.INVALID
