"""The public Python client, and ours, against `crossdock serve`, also over a `kill -9`."""

import threading
import time

import httpx
import pytest
from quick_server import WorkerError as QuickError
from quick_server import worker_request

from crossdock.protocols.longpost import Delays, LongpostClient, WorkerError

pytestmark = pytest.mark.acceptance


def test_the_public_client(server) -> None:
    base = f"{server.url}/longpost"
    assert worker_request(f"{base}/echo", {"a": ["ä😀", None]}) == {"a": ["ä😀", None]}
    assert worker_request(f"{base}/slow", {"seconds": 0.8}) == 0.8
    assert worker_request(f"{base}/big", {"text": "é😀", "times": 200}) == "é😀" * 200
    with pytest.raises(QuickError) as caught:
        worker_request(f"{base}/fail", {"code": 418, "message": "teapot"})
    assert caught.value.get_status_code() == 418
    with pytest.raises(QuickError) as caught:
        worker_request(f"{base}/boom", {})
    assert caught.value.get_status_code() == 500
    assert "secret" not in str(caught.value)
    with pytest.raises(QuickError) as caught:
        worker_request(f"{base}/slow", {"seconds": "soon"})
    assert caught.value.get_status_code() == 400


def test_results_tasks_and_cargo_survive_a_kill(server) -> None:
    base = f"{server.url}/longpost"
    delays = Delays(initial=0.1)
    with (
        LongpostClient(f"{base}/patient", delays=delays) as patient,
        LongpostClient(f"{base}/slow", delays=delays) as slow,
        httpx.Client() as http,
    ):
        cargo = http.post(f"{base}/big", json={"action": "start", "payload": {"text": "x", "times": 300}}).json()
        while not cargo["done"]:
            cargo = http.post(f"{base}/big", json={"action": "get", "token": cargo["token"]}).json()
        tasks = [patient.start({"seconds": 1.0}), slow.start({"seconds": 1.0})]
        server.kill()
        server.start()
        assert patient.result(tasks[0], timeout=30) == 1.0
        assert slow.result(tasks[1], timeout=30) == 1.0
        parts = [http.post(f"{base}/big", json={"action": "cargo", "token": token}).json() for token in cargo["result"]]
        assert "".join(part["result"] for part in parts) == f'"{"x" * 300}"'


def test_a_client_lives_through_a_kill(server) -> None:
    with LongpostClient(f"{server.url}/longpost/patient", delays=Delays(initial=2.0)) as client:
        outcome: list[object] = []
        task = client.start({"seconds": 1.5})
        asking = threading.Thread(target=lambda: outcome.append(client.result(task, timeout=60)))
        asking.start()
        server.kill()
        server.start()
        asking.join()
        assert outcome == [1.5]


def test_stop_ends_a_computation(server) -> None:
    with LongpostClient(f"{server.url}/longpost/slow", delays=Delays(initial=0.1)) as client:
        with pytest.raises(TimeoutError):
            client.run({"seconds": 600}, timeout=0.5)
        [job] = httpx.get(f"{server.url}/jobs").json()["jobs"]
    deadline = time.monotonic() + 20
    while httpx.get(f"{server.url}/jobs/{job['jobID']}").json()["status"] != "dismissed":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_our_client_tells_failures_apart(server) -> None:
    with LongpostClient(f"{server.url}/longpost/fail") as client, pytest.raises(WorkerError) as caught:
        client.run({"code": 404, "message": "no such thing"})
    assert caught.value.status == 404
    assert "no such thing" in caught.value.message
