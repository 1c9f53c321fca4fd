"""Evaluations from the command line: real servers with real sandboxes, over our own protocol and over the original one."""

import json
import os
import pty
import re
import runpy
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "evaluate"
TESTS = ("few", "none", "many")
STATUSES = {
    "right": ("passed", "passed", "passed"),
    "wrong": ("passed", "passed", "wrong"),
    "slow": ("time limit",) * 3,
    "crashing": (r"signal 11|exit code 1",) * 3,
}
CANNED = '''
import json, os, time
from crossdock import App, Context, Failed

app = App()

@app.function("evaluation", raw=True, retries=0)
def evaluation(payload: object) -> object:
    """Answers with what the test says, without evaluating anything."""
    assert set(payload["submission"]) >= {"digest", "size"} and payload["result_url"] is None
    while (answer := json.load(open("answer.json"))) == "wait":
        open("runs", "w").close()
        time.sleep(0.02)
    if answer == "fail":
        raise Failed("the job is at fault", code="evaluation_failed")
    return answer
'''


@pytest.fixture(scope="session")
def prepare():
    """Return the function of the example that puts a submission together."""
    return runpy.run_path(str(EXAMPLE / "prepare.py"))["prepare"]


@pytest.fixture(scope="module")
def work_directory(tmp_path_factory) -> Path:
    """The directory that the installation works in."""
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def installation(serve_once, work_directory):
    """A server that evaluates, and all doors open: the addresses of both protocols by name."""
    settings = [
        "evaluation.min_tier=4",
        "evaluation.slots=2",
        "recodex.clients=tcp://127.0.0.1:0",
        "recodex.workers=tcp://127.0.0.1:0",
        "recodex.monitor=127.0.0.1:0",
        "files.keep=3600",
    ]
    server = serve_once(work_directory, *(part for each in settings for part in ("--set", each)))
    clients = server.heard(r"clients at tcp://(\S+?),")[1]
    monitor = server.heard(r"at (ws://\S+)")[1]
    return {"http": server.url, "recodex": f"recodex+tcp://{clients}?files={server.url}&monitor={monitor}"}


@pytest.fixture(scope="module")
def canned_directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("canned")


@pytest.fixture(scope="module")
def canned(serve_once, canned_directory):
    """Return a function that says how evaluations of a server end, and gives the server's address."""
    (canned_directory / "canned.py").write_text(CANNED)
    server = serve_once(canned_directory, "--set", "worker.hwgroup=default", app="canned.py:app")

    def answer(value: object) -> str:
        written = canned_directory / "answer.json.new"
        written.write_text(json.dumps(value))
        written.replace(canned_directory / "answer.json")
        return server.url

    return answer


def over_both(installation, evaluate) -> dict[str, Any]:
    """Return what a function of an address gives for each protocol by name; both at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(installation, pool.map(evaluate, installation.values()), strict=True))


def submission(prepare, tmp_path: Path, language: str, solution: str) -> Path:
    directory = tmp_path / f"{language}-{solution}"
    prepare(language, solution, directory)
    return directory


@pytest.mark.parametrize("language", ["c", "python", "shell"])
def test_every_solution_of_the_example_gets_what_it_deserves(installation, run, prepare, tmp_path, language):
    def evaluate(solution: str):
        return run("evaluate", submission(prepare, tmp_path, language, solution), "--server", installation["http"], "--json")

    solutions = [*STATUSES, "broken"]
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(solutions, pool.map(evaluate, solutions), strict=True))
    for solution, statuses in STATUSES.items():
        shown = json.loads(ended[solution].stdout)
        assert [test["test"] for test in shown["tests"]] == list(TESTS)
        for test, status in zip(shown["tests"], statuses, strict=True):
            assert re.fullmatch(status, test["status"]), (solution, test)
            assert test["time"] >= 0
            assert test["memory"] > 0
        assert (shown["passed"], ended[solution].returncode) == ((True, 0) if solution == "right" else (False, 1))
    broken = json.loads(ended["broken"].stdout)
    assert (broken["compiled"], broken["score"], ended["broken"].returncode) == (False, 0.0, 1)
    assert "rror" in broken["compiler"]


def test_over_the_original_protocol_it_is_the_same(installation, run, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "python", "wrong")

    def evaluate(server: str):
        output = tmp_path / f"{server.partition(':')[0]}.zip"
        return run("evaluate", directory, "--server", server, "--output", output), output

    for done, output in over_both(installation, evaluate).values():
        lines = done.stdout.splitlines()
        assert done.returncode == 1, done.stderr
        assert [line.split()[:2] for line in lines[:4]] == [
            ["TEST", "STATUS"],
            ["few", "passed"],
            ["none", "passed"],
            ["many", "wrong"],
        ]
        assert lines[-1] == "score 0.67: 2 of 3 tests passed"
        assert done.stderr == ""
        with zipfile.ZipFile(output) as archive:
            assert {"result/result.yml", "result/job-config.yml"} <= set(archive.namelist())


def test_an_archive_is_submitted_like_a_directory(installation, run, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "shell", "right")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in directory.rglob("*"):
            archive.write(path, Path("top") / path.relative_to(directory))
    for done in over_both(installation, lambda server: run("evaluate", packed, "--server", server)).values():
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("score 1.00: 3 of 3 tests passed\n")


def test_what_the_broker_rejects_is_exit_code_2(installation, run, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "shell", "right")
    done = run("evaluate", directory, "--server", installation["recodex"], "--hwgroup", "nobody", "--header", "env=c")
    assert done.returncode == 2
    assert "No worker available for given headers: env=c; hwgroup=nobody" in done.stderr


def test_a_job_that_fails_is_exit_code_1(installation, run, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "shell", "right")
    config = directory / "job-config.yml"
    config.write_text(config.read_text().replace("dependencies: [compile]", "dependencies: [nothing]"))
    ended = over_both(installation, lambda server: run("evaluate", directory, "--server", server, "--json"))
    for way, says in (("http", "evaluation_failed"), ("recodex", "failed and left no results")):
        done = ended[way]
        assert done.returncode == 1
        assert says in done.stderr
        assert json.loads(done.stdout)["passed"] is False


def test_the_bar_counts_tasks(installation, command, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "c", "slow")

    def watch(server: str) -> tuple[int, bytes]:
        terminal, other = pty.openpty()
        process = subprocess.Popen(
            [command, "evaluate", directory, "--server", server], stderr=other, stdout=subprocess.DEVNULL
        )
        os.close(other)
        said = b""
        while True:
            try:
                said += os.read(terminal, 4096)
            except OSError:  # the terminal ends with the command
                break
        os.close(terminal)
        return process.wait(30), said

    for status, said in over_both(installation, watch).values():
        assert status == 1
        assert re.search(rb"[1-7]/7 (compile|run-few|judge-few|run-none)", said)


SANE = {"job-id": "j", "hw-group": "g", "results": [{"task-id": "compile", "status": "OK"}]}


@pytest.mark.parametrize(
    ("answer", "arguments", "says"),
    [
        ("fail", [], "failed: evaluation_failed: the job is at fault"),
        ({"results": []}, [], "the results cannot be understood: result/result.yml is not a map"),
        ({"results": {**SANE, "results": [{"task-id": "a"}]}}, [], "the results cannot be understood: task 'a'"),
        ([], [], "the result of the evaluation cannot be understood"),
        ({"results": SANE, "archive": None}, ["--output", "x.zip"], "left no archive of its results"),
    ],
)
def test_a_server_that_answers_nonsense(canned, run, prepare, tmp_path, answer, arguments, says):
    directory = submission(prepare, tmp_path, "shell", "right")
    done = run("evaluate", directory, "--server", canned(answer), *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_missing_was_skipped(canned, run, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "shell", "right")
    done = run("evaluate", directory, "--server", canned({"results": SANE}), "--json")
    assert done.returncode == 1
    assert [test["status"] for test in json.loads(done.stdout)["tests"]] == ["skipped"] * 3


def test_ctrl_c_leaves_the_job_alone(canned, canned_directory, start, prepare, tmp_path, wait_for):
    directory = submission(prepare, tmp_path, "shell", "right")
    runs = canned_directory / "runs"
    runs.unlink(missing_ok=True)
    server = canned("wait")
    waiting = start("evaluate", directory, "--server", server, stdin=subprocess.DEVNULL)
    wait_for(runs.exists, "the evaluation to run")
    waiting.signal(signal.SIGINT)
    assert waiting.ended() == 130
    canned({"results": SANE})
    assert "the job goes on: crossdock jobs watch" in waiting.said[0]


def test_ctrl_c_over_the_original_protocol_says_where_the_results_will_be(
    installation, work_directory, start, prepare, tmp_path, wait_for
):
    directory = submission(prepare, tmp_path, "shell", "slow")
    url = f"{installation['http']}/results/student_7"
    work = work_directory / "data" / "evaluation"
    with socket.create_server(("127.0.0.1", 0)) as monitor:
        monitor.settimeout(30)
        server = re.sub("monitor=.*", f"monitor=ws://127.0.0.1:{monitor.getsockname()[1]}", installation["recodex"])
        waiting = start("evaluate", directory, "--server", server, "--job-id", "student_7")
        connection, _ = monitor.accept()  # now it follows the job
    with connection:
        wait_for(lambda: any("student_7" in str(path) for path in work.rglob("*")), "the evaluation to run")
        waiting.signal(signal.SIGINT)
        assert waiting.ended() == 130
    assert waiting.said[0].startswith(f"crossdock: interrupted; job student_7 goes on, its results will be at {url}")


def test_both_ways_from_python(installation, prepare, tmp_path):
    directory = submission(prepare, tmp_path, "python", "right")
    script = """
import asyncio, sys
from crossdock import Client
from crossdock.protocols.recodex.client import AsyncRecodexClient, NativeEvaluations, RecodexClient

directory, http, recodex = sys.argv[1:]

def report(steps, verdict):
    print(sum(step.phase == "TASK" for step in steps), verdict.passed, verdict.score)

with Client(http) as server:
    evaluations = NativeEvaluations(server)
    job = evaluations.submit(directory)
    report(list(evaluations.follow(job)), evaluations.result(job))

with RecodexClient(recodex) as client:
    job = client.submit(directory)
    report(list(client.follow(job)), client.result(job))
    assert client.stats()["queued-jobs"] == 0
    client.freeze()
    assert client.stats()["is-frozen"] == 1
    client.unfreeze()

async def main():
    async with AsyncRecodexClient(recodex) as client:
        job = await client.submit(directory)
        report([step async for step in client.follow(job)], await client.result(job))

asyncio.run(main())
"""
    arguments = [sys.executable, "-c", script, str(directory), installation["http"], installation["recodex"]]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=90, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["7 True 1.0"] * 3, "")
