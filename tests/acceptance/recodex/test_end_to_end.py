"""Submissions through client, broker, worker, file server and monitor and back, all of them processes of their own."""

import json
import random
import time

import httpx
import pytest
import zmq

from acceptance.recodex.recodex_site import ADD, PASSWORD, USER, Site, submission
from crossdock.protocols.recodex.client import RecodexClient

pytestmark = pytest.mark.acceptance

GCC = ("/usr/bin/gcc", "main.c", "-o", "add")
C = '#include <stdio.h>\nint main(void) {{ int a, b; if (scanf("%d %d", &a, &b) != 2) return 1; {} return 0; }}\n'
RIGHT = 'printf("%d\\n", a + b);'
CRASH = "if (a > 9) *(volatile int *)0 = 1; "
SPIN = "while [ $a = 0 ]; do :; done"
PYTHON = "#!/usr/bin/python3\na, b = map(int, input().split())\n{}\n"

CASES = {
    "c right": ({"main.c": C.format(RIGHT)}, "./add", GCC, ["passed"] * 3),
    "c crashes": (
        {"main.c": C.format("if (a > 9) *(volatile int *)0 = 1; " + RIGHT)},
        "./add",
        GCC,
        ["passed", "failed", "passed"],
    ),
    "c does not compile": ({"main.c": "int main(void) { return nothing; }\n"}, "./add", GCC, []),
    "python wrong": ({"main.py": PYTHON.format("print(3)")}, "./main.py", (), ["passed", "failed", "failed"]),
    "shell slow": (
        {"main.sh": ADD.replace("echo", "while [ $a = 0 ]; do :; done; echo")},
        "./main.sh",
        (),
        ["passed", "passed", "failed"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_submission_goes_all_the_way_and_back(site, tmp_path, case):
    files, command, compile_, expected = CASES[case]
    folder = submission(tmp_path / "submission", files, command=command, compile_=compile_)
    with RecodexClient(site.address, PASSWORD) as client:
        job = client.submit(folder)
        steps = [(step.phase, step.task, step.state) for step in client.follow(job, 60)]
        verdict = client.result(job)
    names = [step for step in steps if step[0] != "PROGRESS"]
    assert names[0] == ("DOWNLOADED", "", "")
    assert names[-1] == ("FINISHED", "", "")
    assert [test.passed for test in verdict.tests if verdict.compiled] == [word == "passed" for word in expected]
    tasks = [step for step in names if step[0] == "TASK"]
    assert len(tasks) == (len(compile_) > 0) + 2 * len(expected)
    if not expected:
        assert not verdict.compiled
        assert "nothing" in verdict.compiler
    assert verdict.passed == (expected == ["passed"] * 3)
    wait_until(lambda: site.application.statuses().get(job.id) == {"OK": 1})


def test_two_jobs_for_a_group_that_comes_late(site, tmp_path):
    folder = submission(tmp_path / "late", {"main.sh": ADD}, command="./main.sh", group="late")
    with RecodexClient(site.address, PASSWORD) as client:
        jobs = [client.submit(folder) for _ in range(2)]
        assert client.stats()["queued-jobs"] == 2
        site.worker(group="late")
        for job in jobs:
            assert list(client.follow(job, 60))[-1].phase == "FINISHED"
            assert client.result(job).passed


def test_functions_run_on_a_linked_worker_whoever_asks(tmp_path):
    site = Site(tmp_path, app=True)
    try:
        site.server.start()
        site.worker("--slots", "4", group="far", app=True)
        execution = f"{site.server.url}/processes/twice/execution"
        reply = httpx.post(execution, json={"inputs": {"text": "ogc"}}, timeout=60)
        assert reply.json() == {"result": "ogcogc"}

        longpost = f"{site.server.url}/longpost/twice"
        answer = httpx.post(longpost, json={"action": "start", "payload": {"text": "lp"}}, timeout=60).json()
        while not answer["done"]:
            answer = httpx.post(longpost, json={"action": "get", "token": answer["token"]}, timeout=60).json()
        assert json.loads(answer["result"]) == "lplp"

        access = httpx.BasicAuth(USER, PASSWORD)
        httpx.put(f"{site.server.url}/attachments/payload", content=b'{"text": "zmq"}', auth=access).raise_for_status()
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"tcp://127.0.0.1:{site.clients}")
            urls = [f"{site.server.url}/attachments/payload".encode(), f"{site.server.url}/attachments/result".encode()]
            socket.send_multipart([b"eval", b"student_7", b"meta.kind=twice", b"", *urls])
            assert [received(socket), received(socket)] == [[b"ack"], [b"accept"]]
        wait_until(lambda: "student_7" in site.application.statuses())
        assert site.application.statuses()["student_7"] == {"OK": 1}
        assert httpx.get(f"{site.server.url}/attachments/result", auth=access).json() == "zmqzmq"
    finally:
        site.close()


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_killed_brokers_and_workers_lose_nothing(tmp_path):
    dice = random.Random(7)
    site = Site(tmp_path)
    try:
        site.server.start()
        workers = [site.worker(), site.worker()]
        folder = submission(tmp_path / "submission", {"main.sh": ADD}, command="./main.sh")
        accepted = []
        for round_ in range(6):
            with RecodexClient(site.address, PASSWORD) as client:
                accepted += [client.submit(folder).id for _ in range(6)]
            time.sleep(dice.uniform(0, 0.8))
            victim = site.server if round_ % 2 == 0 else dice.choice(workers)
            victim.kill()
            victim.start()
        jobs = wait_until(lambda: ended(site, len(accepted)), 150)
        assert {job["status"] for job in jobs} == {"successful"}
        wait_until(lambda: set(accepted) <= set(site.application.statuses()), 60)
        for said in site.application.statuses().values():
            assert set(said) == {"OK"}
        with httpx.Client(base_url=site.server.url, auth=(USER, PASSWORD)) as http:
            for name in accepted:
                assert http.get(f"/results/{name}.zip").status_code == 200
            for job in jobs:
                events = http.get(f"/jobs/{job['jobID']}/events").text
                assert events.count("event: succeeded") == 1
    finally:
        site.close()


def ended(site, count):
    """Return the jobs once all have ended."""
    page = httpx.get(f"{site.server.url}/jobs?limit=1000", timeout=30).json()["jobs"]
    done = [job for job in page if job["status"] in ("successful", "failed", "dismissed")]
    return done if len(done) == len(page) == count else None


def received(socket):
    assert socket.poll(30_000)
    return socket.recv_multipart()


def wait_until(condition, seconds=30.0):
    """Return what a condition gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return value
