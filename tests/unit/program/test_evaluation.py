"""An evaluation from the archive to the results, around a sandbox that is none."""

import asyncio
import io
import json
import os
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec.structs import replace

from crossdock.core.jobs import ArtifactRef, OutcomeKind
from crossdock.runners.program.boxed import make_ready, prepare
from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.jobconfig import BoundDirectory, Box, HardwareLimits, Task
from crossdock.runners.program.judging import judges_directory
from crossdock.runners.program.settings import EvaluationSettings
from crossdock.runners.program.workspace import Workspace
from unit.program.archives import member, tarred, zipped
from unit.program.scene import PlainSandbox, Scene, configuration, scene, steps, task
from unit.runners.recorder import Recorder, chunk, gone, lease

BOX: dict[str, Any] = {}
OUTPUT = {"output": True}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, PlainSandbox()) as found:
        yield found
        assert found.left == []


def shell(name: str, script: str, **options: Any) -> dict[str, Any]:
    options.setdefault("box", OUTPUT)
    options.setdefault("type", "execution")
    return task(name, "/bin/sh", "-c", script, **options)


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not fact():  # noqa: ASYNC110 - of other threads
            await asyncio.sleep(0.01)


# How an evaluation goes


async def test_a_whole_evaluation(here: Scene) -> None:
    attempt = Recorder()
    run = shell("run", "echo hello; echo oops >&2", dependencies=["prepare"])
    tasks = [task("prepare", "mkdir", "${SOURCE_DIR}/made"), run]
    outcome = await here.evaluate(here.submit(tasks, log="yes"), attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert steps(attempt) == [
        "DOWNLOADED", "STARTED", "TASK prepare COMPLETED", "TASK run COMPLETED", "ENDED", "UPLOADED", "FINISHED",
    ]  # fmt: skip
    progress = [note.progress for note in attempt.notes if note.progress]
    assert [(each.done, each.total, each.message) for each in progress] == [(1, 2, "prepare"), (2, 2, "run")]
    result = msgspec.json.decode(outcome.result or b"")
    assert (result["status"], result["tier"], result["guarantees"]) == ("OK", 4, ["none whatever"])
    assert result["results"]["job-id"] == "job_1"
    assert result["results"]["hw-group"] == "group1"
    run = result["results"]["results"][1]
    assert run["output"] == {"stdout": "hello\n", "stderr": "oops\n"}
    assert run["sandbox_results"] == {
        "exitcode": 0, "time": 0.0149999997, "wall-time": run["sandbox_results"]["wall-time"],
        "memory": 3792, "max-rss": 7944, "status": "OK", "exitsig": 0, "killed": False, "message": "",
        "csw-voluntary": 0, "csw-forced": 0,
    }  # fmt: skip
    archive = msgspec.convert(result["archive"], ArtifactRef)
    assert archive.media_type == "application/zip"
    content = b"".join([piece async for piece in here.artifacts.read(archive)])
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert sorted(packed.namelist()) == ["result/job-config.yml", "result/job_system_log.log", "result/result.yml"]
        assert yaml.safe_load(packed.read("result/result.yml")) == result["results"]
        assert b"task 'run': OK" in packed.read("result/job_system_log.log")


async def test_results_are_put_where_they_are_wanted(here: Scene) -> None:
    tasks = [task("keep", "cp", "${SOURCE_DIR}/a*", "${RESULT_DIR}")]
    url = f"{here.server.url}/secret/results/1"
    outcome = await here.evaluate(here.submit(tasks, {"a1": b"1", "a2": b"2", "b": b"3"}), result_url=url)
    assert msgspec.json.decode(outcome.result or b"")["archive"] is None
    with zipfile.ZipFile(io.BytesIO(here.server.files["/secret/results/1"])) as packed:
        assert set(packed.namelist()) == {"result/job-config.yml", "result/result.yml", "result/a1", "result/a2"}
        assert packed.getinfo("result/a1").compress_type == zipfile.ZIP_DEFLATED


async def test_submissions_come_as_artifacts(here: Scene) -> None:
    content = tarred([(member("job-config.yml"), configuration(here.server, []))], "w:gz")
    ref = await here.artifacts.put(content, "application/gzip")
    outcome = await here.evaluate(msgspec.to_builtins(ref))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert "results" not in msgspec.json.decode(outcome.result or b"")["results"]


@pytest.mark.parametrize("names", [["job_1/"], ["other/"], ["submission/", "more/"]])
async def test_the_configuration_may_be_in_a_directory(here: Scene, names: list[str]) -> None:
    config = configuration(here.server, [task("look", "exists", "no", "${SOURCE_DIR}/job-config.yml")])
    files = [(f"{names[0]}job-config.yml", config)]
    here.server.files["/submission.zip"] = zipped(*files, *((f"{name}x", b"") for name in names[1:]))
    outcome = await here.evaluate(f"{here.server.url}/submission.zip")
    assert outcome.kind is OutcomeKind.SUCCEEDED, outcome


async def test_without_an_id_in_the_payload_it_is_not_checked(here: Scene) -> None:
    outcome = await here.evaluate(here.submit([], **{"job-id": "another"}), job_id=None)
    assert msgspec.json.decode(outcome.result or b"")["results"]["job-id"] == "another"


async def test_members_of_an_array(here: Scene) -> None:
    url = here.submit([])
    attempt = Recorder()
    asked = chunk("evaluation", 2, {"submission": url})
    outcome = await here.runner.run(asked, attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert [(each.index, each.outcome.kind) for each in attempt.members] == [
        (10, OutcomeKind.SUCCEEDED),
        (11, OutcomeKind.SUCCEEDED),
    ]


@pytest.mark.parametrize("network", [False, True])
async def test_only_compiling_has_a_network_and_only_if_that_is_set(tmp_path: Path, network: bool) -> None:
    async with scene(tmp_path, PlainSandbox(), network=network) as here:
        await here.result([shell(kind, "true", type=kind) for kind in ("initiation", "execution", "evaluation", "inner")])
        assert isinstance(here.sandbox, PlainSandbox)
        assert [program.network for program in here.sandbox.programs] == [network, False, False, False]


# What goes wrong, and what that is (7.4 of the specification)

GOOD = [task("fine", "exists", "message", "${SOURCE_DIR}/job-config.yml")]

FAILED = {
    "another job's configuration": {"submission": {"job-id": "job_2"}},
    "no job id": {"submission": {"job-id": None}},
    "no collector": {"submission": {"file-collector": ""}},
    "task without a command": {"tasks": [{"task-id": "a"}]},
    "priority 0": {"tasks": [task("a", "rm", "x", priority=0)]},
    "unknown dependency": {"tasks": [task("a", "rm", "x", dependencies=["b"])]},
    "cycle": {"tasks": [task("a", "rm", "x", dependencies=["b"]), task("b", "rm", "x", dependencies=["a"])]},
    "variable that is not closed": {"tasks": [task("a", "rm", "${SOURCE_DIR")]},
    "working directory elsewhere": {"tasks": [task("a", "x", box={"working-directory": "../x"})]},
    "truncate what is not there": {"tasks": [task("a", "truncate", "${SOURCE_DIR}/none", "1", type="execution")]},
    "dumpdir what is not there": {"tasks": [task("a", "dumpdir", "${SOURCE_DIR}/none", "${RESULT_DIR}", "1")]},
    "working directory that is not there": {"tasks": [shell("a", "true", box={"working-directory": "none"})]},
    "NUL in an environment": {
        "tasks": [
            shell(
                "a",
                "true",
                box={"limits": [{"hw-group-id": "group1", "environ-variable": {"A": "x\0--bind\0/\0/box/host"}}]},
            )
        ]
    },
    "NUL in a path": {"tasks": [shell("a", "true", box={"stdin": "x\0y"})]},
    "path outside": {"tasks": [task("a", "cp", "/etc/passwd", "${RESULT_DIR}")]},
    "path that climbs": {"tasks": [task("a", "rm", "${SOURCE_DIR}/../../other")]},
    "carbon copy outside": {"tasks": [shell("a", "true", box={"carboncopy-stdout": "/tmp/x"})]},
}

ERRORED = {
    "another hardware group": {"submission": {"hw-groups": ["group2"]}},
    "unknown internal task": {"tasks": [task("a", "mv", "x", "y")]},
    "too few arguments": {"tasks": [task("a", "cp", "x")]},
    "no number": {"tasks": [task("a", "truncate", "x", "many")]},
    "too much time": {"tasks": [shell("a", "true", box={"limits": [{"hw-group-id": "group1", "time": 1000}]})]},
    "too much memory": {"tasks": [shell("a", "true", box={"limits": [{"hw-group-id": "group1", "memory": 1 << 40}]})]},
    "bound directory": {
        "tasks": [shell("a", "true", box={"limits": [{"hw-group-id": "group1", "bound-directories": [{"src": "/etc"}]}]})]
    },
    "inner task that fails": {"tasks": [task("a", "exists", "message", "${SOURCE_DIR}/none")]},
    "fetch that fails in an inner task": {"tasks": [task("a", "fetch", "none", "${SOURCE_DIR}/x")]},
}


@pytest.mark.parametrize("name", FAILED)
async def test_the_fault_of_the_job(here: Scene, name: str) -> None:
    attempt = Recorder()
    case = FAILED[name]
    outcome = await here.evaluate(here.submit(case.get("tasks", GOOD), **case.get("submission", {})), attempt)
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "evaluation_failed"), outcome
    assert outcome.message
    assert steps(attempt)[-2:] == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("name", ERRORED)
async def test_no_fault_of_the_job(here: Scene, name: str) -> None:
    attempt = Recorder()
    case = ERRORED[name]
    url = f"{here.server.url}/results/1"
    outcome = await here.evaluate(
        here.submit(case.get("tasks", GOOD), **case.get("submission", {})), attempt, result_url=url
    )
    assert (outcome.kind, outcome.code) == (OutcomeKind.ERRORED, "internal_error"), outcome
    assert steps(attempt)[-1] == "ABORTED"
    assert "FINISHED" not in steps(attempt)
    assert here.server.count("PUT", "/results/1") == 0


@pytest.mark.parametrize(
    "archive",
    [b"", b"rubbish", *(zipped((name, b"[")) for name in ("../job-config.yml", "a", "job-config.yml", "job-config.yml/x"))],
    ids=["empty", "rubbish", "hostile", "no configuration", "no YAML", "a directory"],
)  # fmt: skip
async def test_archives_that_are_none(here: Scene, archive: bytes) -> None:
    here.server.files["/submission.zip"] = archive
    attempt = Recorder()
    outcome = await here.evaluate(f"{here.server.url}/submission.zip", attempt)
    assert outcome.kind is OutcomeKind.ERRORED, outcome
    assert steps(attempt) == ["DOWNLOADED", "ABORTED"]


@pytest.mark.parametrize("path", ["/none", "/status/500", "/secret", "/moved/none"])
async def test_submissions_that_cannot_be_downloaded(here: Scene, path: str) -> None:
    attempt = Recorder()
    outcome = await here.evaluate(here.server.url + path, attempt)
    assert outcome.kind is OutcomeKind.ERRORED
    assert steps(attempt) == ["ABORTED"]


async def test_results_that_cannot_be_uploaded(here: Scene) -> None:
    attempt = Recorder()
    outcome = await here.evaluate(here.submit(GOOD), attempt, result_url=f"{here.server.url}/status/500")
    assert outcome.kind is OutcomeKind.ERRORED
    assert steps(attempt)[-2:] == ["ENDED", "ABORTED"]


async def test_an_artifact_that_is_not_there(here: Scene) -> None:
    outcome = await here.evaluate({"digest": "0" * 64, "size": 5, "media_type": "application/zip"})
    assert outcome.kind is OutcomeKind.ERRORED


@pytest.mark.parametrize("payload", [{}, {"submission": 5}, {"submission": "x", "result_url": 7}, [], None])
async def test_payloads_that_are_none(here: Scene, payload: object) -> None:
    outcome = await here.runner.run(lease("evaluation", payload), Recorder())
    assert (outcome.kind, outcome.code) == (OutcomeKind.FAILED, "evaluation_failed")


async def test_a_sandbox_that_cannot_run_anything(here: Scene) -> None:
    assert isinstance(here.sandbox, PlainSandbox)
    here.sandbox.broken = True
    outcome = await here.evaluate(here.submit([shell("a", "true")]))
    assert outcome.kind is OutcomeKind.ERRORED
    assert "no box today" in outcome.message


async def test_results_that_are_too_much_to_pack_are_lost_but_not_the_job(tmp_path: Path) -> None:
    async with scene(tmp_path, PlainSandbox(), max_results=10_000) as here:
        attempt = Recorder()
        tasks = [task("keep", "cp", "${SOURCE_DIR}/big", "${RESULT_DIR}")]
        url = f"{here.server.url}/results/1"
        outcome = await here.evaluate(here.submit(tasks, {"big": os.urandom(20_000)}), attempt, result_url=url)
        assert outcome.kind is OutcomeKind.SUCCEEDED
        assert steps(attempt)[-2:] == ["ENDED", "FINISHED"]
        assert "packed" in attempt.logs[0]
        assert here.server.count("PUT", "/results/1") == 0


# Tasks


async def test_failures_skip_what_depends_on_them(here: Scene) -> None:
    attempt = Recorder()
    tasks = [
        shell("bad", "exit 3"),
        shell("after", "true", dependencies=["bad"]),
        shell("long after", "true", dependencies=["after"]),
        shell("other", "true"),
    ]
    outcome = await here.evaluate(here.submit(tasks), attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert steps(attempt)[2:6] == [
        "TASK bad FAILED",
        "TASK after SKIPPED",
        "TASK long after SKIPPED",
        "TASK other COMPLETED",
    ]
    results = {each["task-id"]: each for each in msgspec.json.decode(outcome.result or b"")["results"]["results"]}
    assert results["after"] == {"task-id": "after", "status": "SKIPPED"}
    assert results["bad"]["status"] == "FAILED"
    assert results["bad"]["error_message"] == "Sandboxed program failed: Exited with error status 3"
    assert (results["bad"]["sandbox_results"]["status"], results["bad"]["sandbox_results"]["exitcode"]) == ("RE", 3)


async def test_a_fatal_failure_ends_the_job_with_results(here: Scene) -> None:
    results = await here.result([shell("bad", "exit 3", **{"fatal-failure": True}), shell("later", "true")])
    assert list(results) == ["bad"]


async def test_an_internal_task_may_fail_where_that_is_said(here: Scene) -> None:
    results = await here.result([task("check", "exists", "Nothing was compiled", "${SOURCE_DIR}/a.out", type="initiation")])
    assert results["check"]["status"] == "FAILED"
    assert results["check"]["output"]["stderr"] == "Nothing was compiled"
    assert "sandbox_results" not in results["check"]


@pytest.mark.parametrize(
    ("codes", "code", "status", "box"),
    [
        (None, 0, "OK", "OK"),
        (None, 5, "FAILED", "RE"),
        (5, 5, "OK", "OK"),
        (5, 0, "FAILED", "RE"),
        ([0, [3, 6]], 5, "OK", "OK"),
        ([0, [3, 6]], 7, "FAILED", "RE"),
    ],
)
async def test_success_exit_codes(here: Scene, codes: object, code: int, status: str, box: str) -> None:
    options = {} if codes is None else {"success-exit-codes": codes}
    result = (await here.result([shell("run", f"exit {code}", **options)]))["run"]
    assert (result["status"], result["sandbox_results"]["status"], result["sandbox_results"]["exitcode"]) == (
        status,
        box,
        code,
    )
    if status == "OK":
        assert result["sandbox_results"]["message"] == ""
    elif code == 0:
        message = "Exited with code 0, which is not considered a success (exit codes override)"
        assert result["sandbox_results"]["message"] == message


async def test_signals_and_time_are_no_exit_codes(here: Scene) -> None:
    limits = {"limits": [{"hw-group-id": "group1", "wall-time": 0.2}]}
    tasks = [
        shell("killed", "kill -11 $$", **{"success-exit-codes": [0, 11, 139]}),
        shell("slow", "sleep 60", box=limits, **{"success-exit-codes": [0]}),
    ]
    results = await here.result(tasks)
    assert (results["killed"]["sandbox_results"]["status"], results["killed"]["sandbox_results"]["exitsig"]) == ("SG", 11)
    slow = results["slow"]["sandbox_results"]
    assert (slow["status"], slow["killed"], slow["message"]) == ("TO", True, "Time limit exceeded (wall clock)")


async def test_output_of_all_kinds(tmp_path: Path) -> None:
    async with scene(tmp_path, PlainSandbox(), max_output=10, max_carboncopy=5) as here:
        say = "echo 0123456789abc; echo oops >&2"
        kept = {"carboncopy-stdout": "${RESULT_DIR}/out", "carboncopy-stderr": "${RESULT_DIR}/err"}
        tasks = [
            shell("cut", say),
            shell("none", say, box={}),
            shell("merged", "echo a; echo b >&2", box={"output": True, "stderr-to-stdout": True}),
            shell("named", say, box={"output": True, "stdout": "made.txt", "stderr": "/box/err.txt"}),
            shell("copied", say, box=kept),
            shell("odd", r"printf '\303\251\377\000\303'"),
            shell("elsewhere", "cat; pwd", box={"output": True, "stdin": "made.txt", "working-directory": "sub"}),
            shell("chdir", "cat in", box={"output": True, "chdir": "${EVAL_DIR}/sub"}),
            task("look", "exists", "gone", *(f"${{SOURCE_DIR}}/{name}" for name in ("made.txt", "err.txt"))),
            task("keep", "dumpdir", "${SOURCE_DIR}", "${RESULT_DIR}/all", "100"),
        ]
        url = here.submit(tasks, {"sub/made.txt": b"input", "sub/in": b"inside"})
        outcome = await here.evaluate(url, result_url=f"{here.server.url}/r")
        assert outcome.kind is OutcomeKind.SUCCEEDED, outcome
        results = {each["task-id"]: each for each in msgspec.json.decode(outcome.result or b"")["results"]["results"]}
        assert results["cut"]["output"] == results["named"]["output"] == {"stdout": "0123456789", "stderr": "oops\n"}
        assert "output" not in results["none"]
        assert "output" not in results["copied"]
        assert results["merged"]["output"] == {"stdout": "a\nb\n", "stderr": ""}
        assert results["odd"]["output"]["stdout"] == "é\ufffd\0\ufffd"
        assert results["elsewhere"]["output"]["stdout"].startswith("input")
        assert results["chdir"]["output"]["stdout"] == "inside"
        with zipfile.ZipFile(io.BytesIO(here.server.files["/r"])) as packed:
            assert (packed.read("result/out"), packed.read("result/err")) == (b"01234", b"oops\n")
            left = {name.removeprefix("result/all/") for name in packed.namelist() if "/all/" in name}
            assert left == {"job-config.yml", "made.txt", "err.txt", "sub/made.txt", "sub/in"}
            text = packed.read("result/result.yml").decode("ascii")
            assert yaml.safe_load(text)["results"][5]["output"]["stdout"] == "é\ufffd\0\ufffd"


async def test_what_a_program_is_given(tmp_path: Path) -> None:
    own = {"PATH": "/bin", "A": "worker"}
    async with scene(tmp_path, PlainSandbox(), environment=own, bindable=(Path("/usr/share"),)) as here:
        limits = {
            "hw-group-id": "group1", "time": 1.5, "wall-time": 3, "extra-time": 0.5, "memory": 1000, "extra-memory": 0,
            "stack-size": 0, "parallel": 0, "disk-size": 10, "disk-files": 20,
            "environ-variable": {"A": "job", "B": "${JOB_ID}"},
            "bound-directories": [
                {"src": "${SOURCE_DIR}/data", "dst": "/data", "mode": "rw,noexec"}, {"src": "/usr/share", "mode": "maybe"},
                {"dst": "/scratch", "mode": "tmp"},
            ],
        }  # fmt: skip
        other = {"hw-group-id": "group2", "time": 9999}
        command = ("./prog", "${WORKER_ID}", "${JOB_ID}", "${EVAL_DIR}", "${UNKNOWN}", "${SOURCE_DIR}")
        tasks = [
            task("run", *command, type="execution", box={"limits": [other, limits]}),
            task("free", "/usr/bin/recodex-token-judge", type="initiation", box={}),
        ]
        assert isinstance(here.sandbox, PlainSandbox)
        await here.evaluate(here.submit(tasks, {"prog": b"#!/bin/sh\n", "data/x": b""}))
        run, free = here.sandbox.programs
        assert run.arguments == ("./prog", "1", "job_1", "/box", "${UNKNOWN}", str(run.directory))
        assert run.directory == tmp_path / "work/eval/1/job_1"
        assert run.environment == {"A": "worker", "B": "${JOB_ID}", "PATH": "/bin", "HOME": "/box", "ISOLATE_BOX": "/box"}
        given = run.limits
        assert (given.cpu, given.wall, given.extra, given.memory) == (1.5, 3.0, 0.5, 1000 * 1024)
        assert (given.stack, given.processes, given.disk, given.inodes) == (None, 64, 10 * 1024, 20)
        assert not run.network
        binds = {bind.target: bind for bind in run.binds}
        assert binds["/data"].source == run.directory / "data"
        assert (binds["/data"].writable, binds["/data"].executable) == (True, False)
        assert (binds["/usr/share"].source, binds["/usr/share"].optional) == (Path("/usr/share"), True)
        assert (binds["/scratch"].source, binds["/scratch"].writable) == (None, True)
        assert binds["/judges"].source == judges_directory(tmp_path / "work")
        assert not binds["/judges"].writable
        assert not free.network
        assert free.arguments == ("/judges/recodex-token-judge",)
        assert (free.limits.cpu, free.limits.wall) == (60.0, 180.0)


async def test_judges_are_there(here: Scene) -> None:
    files = {"expected": b"1 2\n", "good": b"1  2\n", "bad": b"1 3\n"}
    tasks = [
        task(name, f"{place}/recodex-token-judge", "/box/expected", f"/box/{name}", type="evaluation", box=OUTPUT)
        for name, place in (("good", "${JUDGES_DIR}"), ("bad", "/usr/bin"))
    ]
    results = await here.result(tasks, files)
    assert (results["good"]["status"], results["good"]["output"]["stdout"]) == ("OK", "1\n")
    assert results["bad"]["status"] == "FAILED"
    assert results["bad"]["output"] == {"stdout": "0\n", "stderr": "1: token 2 is '3', expected '2'\n"}
    assert results["bad"]["sandbox_results"]["exitcode"] == 1


async def test_what_a_program_leaves_is_tidied_up(here: Scene) -> None:
    script = (
        "ln -s /etc/passwd link; mkfifo pipe; ln -s / all; echo x >file; ln file hard; mkdir -p d/e; ln -s / d/l; chmod 0 d"
    )
    tasks = [
        shell("litter", script, box={}),
        task("keep", "cp", "${SOURCE_DIR}/*", "${RESULT_DIR}"),
        shell("list", "find . ! -type f ! -type d; find . -name hard"),
    ]
    result = (await here.result(tasks))["list"]
    assert result["output"]["stdout"] == "./hard\n"


async def test_a_result_that_would_be_large_is_cut_and_the_archive_has_all_of_it(here: Scene) -> None:
    tasks = [shell(name, "echo 0.5; head -c 60000 /dev/zero | tr '\\0' x") for name in ("a", "b", "c")]
    outcome = await here.evaluate(here.submit(tasks))
    assert isinstance(outcome.result, bytes)
    assert len(outcome.result) <= 64 * 1024
    result = json.loads(outcome.result)
    assert [each["output"]["stdout"][:5] for each in result["results"]["results"]] == ["0.5\nx"] * 3
    assert result["archive"]["size"] > 0


async def test_output_names_that_lead_elsewhere_show_nothing(here: Scene) -> None:
    secret = here.folder / "secret"
    secret.write_text("secret")
    script = f"rm -f out; ln -s {secret} out; rm -rf d; ln -s {here.folder} d"
    tasks = [
        shell("link", script, box={"output": True, "stdout": "out", "stderr": "d/secret"}),
    ]
    results = await here.result(tasks, {"d/secret": b""})
    assert "secret" not in str(results)


async def test_links_stay_in_none_of_the_directories(here: Scene) -> None:
    script = 'for d in "$@"; do mkdir "$d/d" && ln -s / "$d/d/link" || exit 1; done'
    places = ("${SOURCE_DIR}", "${RESULT_DIR}", "${TEMP_DIR}")
    make = task("make", "/bin/sh", "-c", script, "sh", *places, type="execution", box=OUTPUT, priority=2)
    look = task("look", "/usr/bin/find", *places, "-name", "d", "-o", "-type", "l", type="execution", box=OUTPUT)
    results = await here.result([make, look])
    assert results["make"]["status"] == "OK"
    assert [line.rsplit("/", 1)[1] for line in results["look"]["output"]["stdout"].split()] == ["d"] * 3


@pytest.mark.parametrize(("place", "refused"), [("x", False), ("x/y", True), ("x/y/deep", True), ("none/x", False)])
def test_what_is_bound_has_no_link_on_the_way(tmp_path: Path, place: str, refused: bool) -> None:
    settings = EvaluationSettings(working_directory=tmp_path / "work", cache_directory=tmp_path)
    workspace = Workspace(settings.working_directory, 1, "job")
    try:
        (tmp_path / "outside/deep").mkdir(parents=True)
        (workspace.temp / "x").mkdir()
        (workspace.temp / "x/y").symlink_to(tmp_path / "outside")
        bound = BoundDirectory(str(workspace.temp / place), "/y", frozenset({"rw"}))
        box = Box(limits=(HardwareLimits(group="default", bound=(bound,)),))
        boxed = prepare(Task(id="a", binary="/bin/true", type="execution", box=box), box, workspace, settings)
        with pytest.raises(EvaluationFailed, match="link") if refused else nullcontext():
            make_ready(boxed, workspace)
    finally:
        workspace.close()


async def test_the_directories_are_private(here: Scene) -> None:
    results = await here.result([shell("look", "stat -c %a . ..; stat -c %a ../../../results/1/job_1")])
    assert results["look"]["output"]["stdout"].split() == ["700", "711", "700"]


# Ending early


async def test_cancelled_while_a_program_runs(here: Scene) -> None:
    attempt = Recorder()
    running = asyncio.create_task(
        here.evaluate(here.submit([task("a", "mkdir", "x"), shell("sleep", "sleep 100")]), attempt)
    )
    await attempt.until(lambda: "TASK a COMPLETED" in steps(attempt))
    assert isinstance(here.sandbox, PlainSandbox)
    sandbox = here.sandbox
    await until(lambda: sandbox.running)
    pids = list(sandbox.running)

    attempt.cancel()
    outcome = await running
    assert outcome.kind is OutcomeKind.CANCELLED
    await gone(*pids, within=20)


async def test_cancelled_while_it_downloads(here: Scene) -> None:
    attempt = Recorder()
    running = asyncio.create_task(here.evaluate(f"{here.server.url}/slow", attempt))
    await until(lambda: here.server.count("GET", "/slow"))
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED


async def test_killed(here: Scene) -> None:
    running = asyncio.create_task(here.evaluate(f"{here.server.url}/slow"))
    await until(lambda: here.server.count("GET", "/slow"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_too_long(here: Scene) -> None:
    asked = lease("evaluation", {"submission": here.submit([shell("sleep", "sleep 100")])}, timeout=0.5)
    outcome = await here.runner.run(asked, Recorder())
    assert (outcome.kind, outcome.code) == (OutcomeKind.TIMED_OUT, "timeout")


# Side by side


async def test_jobs_run_side_by_side_but_never_two_in_one_directory(here: Scene) -> None:
    script = "test ! -e mark; s=$?; touch mark; sleep 0.2; rm mark; exit $s"
    url = here.submit([shell("run", script)], **{"job-id": "x"})
    names = ["same", "same", "same", "other"]

    async def one(name: str) -> str:
        asked = lease("evaluation", {"submission": url, "job_id": name})
        here.server.files[f"/{name}.zip"] = zipped(
            ("job-config.yml", configuration(here.server, [shell("run", script)], **{"job-id": name}))
        )
        asked = lease("evaluation", {"submission": f"{here.server.url}/{name}.zip", "job_id": name})
        outcome = await here.runner.run(asked, Recorder())
        return msgspec.json.decode(outcome.result or b"")["results"]["results"][0]["status"]

    assert await asyncio.gather(*map(one, names)) == ["OK"] * 4


@pytest.mark.parametrize("name", ["../../../evil", "a/b", ".", "..", ".hidden", "x" * 300, "ž ☃\n", ""])
async def test_ids_of_any_kind(here: Scene, name: str) -> None:
    here.server.files["/submission.zip"] = zipped(("job-config.yml", configuration(here.server, GOOD, **{"job-id": "x"})))
    payload = {"submission": f"{here.server.url}/submission.zip", "job_id": name}
    asked = replace(lease("evaluation"), payload=json.dumps(payload).encode())
    outcome = await here.runner.run(asked, Recorder())
    assert outcome.kind is OutcomeKind.FAILED
    assert sorted(path.name for path in here.folder.iterdir()) == ["artifacts", "cache", "work"]
    kinds = {path.name for path in (here.folder / "work").iterdir()}
    assert kinds - {"judges"} == {"downloads", "eval", "results", "temp"}


async def test_without_cleanup_the_directories_stay_until_the_next(tmp_path: Path) -> None:
    async with scene(tmp_path, PlainSandbox(), cleanup=False) as here:
        await here.result([shell("run", "touch old")])
        place = tmp_path / "work/eval/1/job_1"
        assert (place / "old").exists()
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        await here.result([])
        assert not (place / "old").exists()
