"""Submissions of students: right, wrong, slow, crashing, greedy, not compiling; each in C, Python and shell."""

import asyncio
import io
import socket
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml

from acceptance.evaluation.conftest import EXPECTED, submit
from crossdock.app.evaluating import program_runner
from crossdock.config import Config, Evaluation
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import OutcomeKind
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Tier
from crossdock.runners.program.settings import FileManager, WorkerLimits
from unit.program.scene import Scene, scene, steps, task
from unit.runners.recorder import Recorder, lease


@dataclass
class Case:
    """A solution, and what is to be found out about it."""

    solution: str
    judge: str = "SKIPPED"
    run: dict[str, Any] = field(default_factory=dict)
    compiles: bool = True


C = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {{
    int n, sum = 0, max = 0;
    while (scanf("%d", &n) == 1) {{ sum += n; if (n > max) max = n; }}
    {}
    return 0;
}}
"""
PYTHON = "numbers = [int(word) for word in open(0).read().split()]\n{}\n"
SHELL = "read a b c\n{}\n"

CASES = {
    "c": {
        "right": Case(C.format('printf("sum %d\\nmax %d\\n", sum, max);'), "OK", {"status": "OK", "exitcode": 0}),
        "wrong": Case(C.format('printf("sum %d\\nmax %d\\n", sum + 1, max);'), "FAILED", {"status": "OK"}),
        "slow": Case(C.format("for (volatile unsigned i = 0;; i++);"), run={"status": "TO", "killed": True}),
        "sleepy": Case("#include <unistd.h>\nint main(void) { sleep(1000); }", run={"status": "TO", "killed": True}),
        "crashing": Case(C.format("*(volatile int *)0 = 1;"), run={"status": "SG", "exitsig": 11}),
        "failing": Case(C.format("return 7;"), run={"status": "RE", "exitcode": 7}),
        "greedy": Case(C.format("for (;;) memset(malloc(1 << 20), 1, 1 << 20);"), run={"killed": None}),
        "not compiling": Case("int main(void) { return missing; }", compiles=False),
    },
    "python": {
        "right": Case(PYTHON.format('print("sum", sum(numbers)); print("max", max(numbers))'), "OK", {"status": "OK"}),
        "wrong": Case(PYTHON.format('print("sum", sum(numbers))'), "FAILED", {"status": "OK"}),
        "slow": Case(PYTHON.format("while True: pass"), run={"status": "TO", "killed": True}),
        "crashing": Case(PYTHON.format("1 / 0"), run={"status": "RE", "exitcode": 1}),
        "greedy": Case(PYTHON.format("x = 'x' * (1 << 30)"), run={"killed": None}),
        "not compiling": Case("def (", compiles=False),
    },
    "shell": {
        "right": Case(SHELL.format("echo sum $((a + b + c)); echo max $c"), "OK", {"status": "OK"}),
        "wrong": Case(SHELL.format("echo sum $((a + b)); echo max $c"), "FAILED", {"status": "OK"}),
        "slow": Case(SHELL.format("while :; do :; done"), run={"status": "TO", "killed": True}),
        "crashing": Case(SHELL.format("kill -6 $$"), run={"status": "SG", "exitsig": 6}),
        "not compiling": Case("if then", compiles=False),
    },
}


@pytest.mark.parametrize(("language", "name"), [(language, name) for language, cases in CASES.items() for name in cases])
async def test_submissions(here: Scene, language: str, name: str) -> None:
    case = CASES[language][name]
    attempt = Recorder()
    outcome = await here.evaluate(submit(here, language, case.solution), attempt, result_url=f"{here.server.url}/secret/1")
    assert outcome.kind is OutcomeKind.SUCCEEDED, outcome
    document = msgspec.json.decode(outcome.result or b"")
    results = {each["task-id"]: each for each in document["results"]["results"]}
    assert document["tier"] == int(here.sandbox.tier)
    with zipfile.ZipFile(io.BytesIO(here.server.files["/secret/1"])) as packed:
        assert yaml.safe_load(packed.read("result/result.yml")) == document["results"]
        kept = set(packed.namelist())
    if not case.compiles:
        assert list(results) == ["compile"]
        assert results["compile"]["status"] == "FAILED"
        output = results["compile"]["output"]
        assert "solution" in output["stdout"] + output["stderr"]
        assert kept == {"result/result.yml", "result/job-config.yml"}
        return
    run = results["run"]["sandbox_results"]
    for key, value in case.run.items():
        assert value in (None, run[key]), run
    assert results["judge"]["status"] == case.judge, results
    assert results["run"]["status"] == ("OK" if run["status"] == "OK" else "FAILED")
    assert all(run[key] is not None for key in ("exitcode", "memory", "time", "wall-time", "message", "killed", "status"))
    if case.judge != "SKIPPED":
        assert results["judge"]["output"]["stdout"] == ("1\n" if case.judge == "OK" else "0\n")
        assert results["run"]["output"]["stdout"].split()[0] == "sum"
        assert run["memory"] > 0
    else:
        assert run["status"] != "OK"
        assert "SKIPPED" in " ".join(steps(attempt))
    assert {"result/files/expected", "result/files/input"} <= kept
    assert "result/files/program" not in kept


async def test_time_is_measured(here: Scene) -> None:
    solution = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\ntime.sleep(0.3)"
    outcome = await here.evaluate(submit(here, "python", solution))
    results = {each["task-id"]: each for each in msgspec.json.decode(outcome.result or b"")["results"]["results"]}
    run = results["run"]["sandbox_results"]
    assert 0.2 <= run["time"] < 0.5
    assert run["wall-time"] >= 0.5


async def test_the_second_time_files_come_from_the_cache(here: Scene) -> None:
    solution = CASES["shell"]["right"].solution
    for _ in range(2):
        outcome = await here.evaluate(submit(here, "shell", solution))
        assert b'"OK"' in (outcome.result if isinstance(outcome.result, bytes) else b"")
    assert here.server.count("GET", "/exercises/expected-1") == 1
    assert (here.folder / "cache/expected-1").read_bytes() == EXPECTED


async def test_many_at_once(here: Scene) -> None:
    async def one(number: int) -> Any:
        name = f"job_{number}"
        solution = CASES["shell"]["right" if number % 2 else "wrong"].solution
        outcome = await here.evaluate(submit(here, "shell", solution, name), job_id=name)
        results = msgspec.json.decode(outcome.result or b"")["results"]["results"]
        return next(each["status"] for each in results if each["task-id"] == "judge")

    assert await asyncio.gather(*map(one, range(6))) == ["FAILED", "OK"] * 3


async def test_cancelling_ends_the_program(here: Scene) -> None:
    attempt = Recorder()
    mark = "13579.2468"
    sleeping = task("run", "/bin/sleep", mark, type="execution", box={})
    running = asyncio.create_task(here.evaluate(here.submit([sleeping]), attempt))

    def sleepers() -> list[psutil.Process]:
        return [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or [])]

    async with asyncio.timeout(60):
        while not sleepers():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.05)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED
    assert sleepers() == []


async def test_a_program_sees_neither_the_worker_nor_the_results(here: Scene) -> None:
    script = (
        "cat /etc/shadow; ls ${RESULT_DIR} ${TEMP_DIR}; ls ..; echo $HOME; pwd; id -u; cat job-config.yml | head -c 5; "
        "echo x >>/judges/recodex-token-judge; touch /usr/x; (echo >/dev/tcp/127.0.0.1/1) 2>/dev/null && echo connected; env"
    )
    look = task("look", "/bin/bash", "-c", script, type="execution", box={"output": True, "stderr-to-stdout": True})
    said = (await here.result([look]))["look"]["output"]["stdout"]
    assert "root:" not in said
    assert "/box\n" in said
    assert "connected" not in said
    assert str(here.folder) not in said.replace(f"'{here.folder}", "")
    assert "PYTEST" not in said


async def test_what_programs_leave_can_be_read_and_removed(here: Scene) -> None:
    script = (
        "mkdir -p made/deep; echo 1 >made/deep/file; chmod 000 made/deep/file; chmod 000 made/deep; ln -s /etc/passwd link; "
        "d=.; for i in $(seq 80); do mkdir d; cd d; done"
    )
    tasks = [
        task("make", "/bin/bash", "-c", script, type="execution", box={"output": True}),
        task("again", "/bin/sh", "-c", "rm -r made && ls", type="execution", box={"output": True}),
        task("cp", "cp", "${SOURCE_DIR}/d", "${TEMP_DIR}/copy", type="execution"),
        task("rm", "rm", "${SOURCE_DIR}/d", type="execution"),
        task("exists", "exists", "gone", "${SOURCE_DIR}/link", type="execution"),
    ]
    results = await here.result(tasks)
    assert results["make"]["status"] == "OK"
    assert results["exists"]["status"] == "FAILED"
    assert results["rm"]["status"] == "OK"


@pytest.mark.parametrize("tier", [Tier.NAMESPACES, Tier.LANDLOCK])
@pytest.mark.parametrize(("language", "name"), [("c", "right"), ("c", "wrong"), ("python", "right"), ("c", "slow")])
async def test_on_weaker_tiers(tmp_path: Path, tier: Tier, language: str, name: str) -> None:
    boxes = Boxes(tmp_path / "boxes", slots=1, minimum=tier, best=tier)
    limits = WorkerLimits(stack=64 * 2**20)
    try:
        async with scene(tmp_path, boxes, limits=limits) as here:
            outcome = await here.evaluate(submit(here, language, CASES[language][name].solution))
            document = msgspec.json.decode(outcome.result or b"")
            assert document["tier"] == tier
            assert document["guarantees"]
            judged = next(each for each in document["results"]["results"] if each["task-id"] == "judge")
            assert judged["status"] == CASES[language][name].judge
    except CrossdockError as error:
        pytest.skip(f"this machine has no tier {tier}: {error.message}")


async def test_bound_directories(here: Scene) -> None:
    bound = [
        {"src": "${SOURCE_DIR}/data", "dst": "/data", "mode": "RW"},
        {"src": "${SOURCE_DIR}/data", "dst": "/data-to-read"},
        {"src": "/nothing/like/it", "dst": "/optional", "mode": "maybe"},
        {"dst": "/scratch", "mode": "tmp"},
    ]
    here_too = {"hw-group-id": "group1", "bound-directories": [*bound[:2], bound[3]]}
    script = "cat /data/in; echo out >/data/out; echo no >/data-to-read/no; echo x >/scratch/x && cat /scratch/x"
    tasks = [
        task("run", "/bin/sh", "-c", script, type="execution", box={"output": True, "limits": [here_too]}),
        task("look", "exists", "out", "${SOURCE_DIR}/data/out", type="execution"),
        task("none", "exists", "no", "${SOURCE_DIR}/data/no", type="execution"),
    ]
    results = await here.result(tasks, {"data/in": b"in\n"})
    assert results["run"]["output"]["stdout"] == "in\nx\n", results
    assert [results[name]["status"] for name in ("look", "none")] == ["OK", "FAILED"]
    outside = {"hw-group-id": "group1", "bound-directories": [bound[2]]}
    outcome = await here.evaluate(here.submit([task("a", "/bin/true", type="execution", box={"limits": [outside]})]))
    assert outcome.kind is OutcomeKind.ERRORED


async def test_a_link_of_one_box_leads_no_later_one_outside(here: Scene, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")

    def bound(place: str) -> dict[str, Any]:
        directory = {"src": f"${{TEMP_DIR}}/{place}", "dst": "/bound", "mode": "rw"}
        return {"limits": [{"hw-group-id": "group1", "bound-directories": [directory]}], "output": True}

    shell = ("/bin/sh", "-c")
    where = "/bound" if here.sandbox.tier <= Tier.NAMESPACES else "${TEMP_DIR}/x"
    tasks = [
        task("make", "mkdir", "${TEMP_DIR}/x", priority=9),
        task("a", *shell, f"ln -s {outside} {where}/y", type="execution", priority=8, box=bound("x")),
        task("b", *shell, "cat /bound/*", type="execution", box=bound("x/y") | {"stdout": "/bound/out"}),
    ]
    results = await here.result(tasks)
    assert results["a"]["status"] == "OK", results
    assert results["b"]["status"] == "FAILED"
    assert "secret" not in str(results)
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize("network", [False, True])
async def test_compiling_reaches_the_machine_only_where_that_is_configured(
    here: Scene, tmp_path: Path, network: bool
) -> None:
    table = Evaluation(network=network, min_tier=3)
    known = (FileManager(prefix=here.server.url),)
    runner, _ = await program_runner(Config(), table, here.artifacts, tmp_path / "own", 1, "group1", known)
    await runner.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ask = f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 5)"
            url = here.submit([task("compile", "/usr/bin/python3", "-c", ask, type="initiation", box={})])
            outcome = await runner.run(
                lease("evaluation", {"submission": url, "job_id": "job_1"}, timeout=100.0), Recorder()
            )
    finally:
        await runner.stop()
    (result,) = msgspec.json.decode(outcome.result or b"")["results"]["results"]
    assert (result["status"] == "OK") == network, result
