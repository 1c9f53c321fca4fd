"""How tests are judged."""

import pytest

from crossdock.protocols.recodex.client.config import JobConfig, Limits, Task
from crossdock.protocols.recodex.client.results import Results, SandboxResult, TaskResult
from crossdock.protocols.recodex.client.verdict import judge

LIMITS = {"g": Limits(time=1.0, memory=1000)}
CONFIG = JobConfig(
    job_id="j",
    groups=("g",),
    tasks=(
        Task(id="mkdir"),
        Task(id="compile", type="initiation"),
        Task(id="run-a", type="execution", test="A", limits=LIMITS),
        Task(id="judge-a", type="evaluation", test="A"),
        Task(id="run-b", type="execution", test="B", limits=LIMITS),
        Task(id="judge-b", type="evaluation", test="B"),
        Task(id="clean-b", test="B"),
    ),
)
FINE = SandboxResult(status="OK", time=0.5, wall_time=0.75, memory=500)


def ran(name, status="OK", sandbox=FINE, **more) -> TaskResult:
    return TaskResult(id=name, status=status, sandbox=sandbox, **more)


def verdict_of(*changed, without=()):
    tasks = {
        each.id: each
        for each in (
            TaskResult(id="mkdir", status="OK"),
            ran("compile"),
            ran("run-a"),
            ran("judge-a", stdout="1 fine\n"),
            ran("run-b"),
            ran("judge-b", stdout="0.5\nsome lines differ"),
            *changed,
        )
    }
    return judge(CONFIG, Results(job_id="j", group="g", tasks=tuple(t for t in tasks.values() if t.id not in without)))


def test_a_test_is_its_execution_and_its_judge():
    verdict = verdict_of()
    a, b = verdict.tests
    assert (verdict.passed, verdict.compiled, verdict.score, verdict.compiler) == (True, True, 0.75, "")
    assert (a.test, a.status, a.passed, a.score, a.log) == ("A", "passed", True, 1.0, "fine")
    assert (b.test, b.passed, b.score, b.log) == ("B", True, 0.5, "some lines differ")
    assert (a.time, a.wall_time, a.memory) == (0.5, 0.75, 500)


@pytest.mark.parametrize(
    ("sandbox", "status"),
    [
        (SandboxResult(status="TO", killed=True, message="Time limit exceeded"), "time limit"),
        (SandboxResult(status="SG", exitsig=11, message="Caught fatal signal 11"), "signal 11"),
        (SandboxResult(status="SG", exitsig=9, memory=1000), "memory limit"),
        (SandboxResult(status="RE", exitcode=3), "exit code 3"),
        (SandboxResult(status="XX", message="it broke"), "sandbox error"),
    ],
)
def test_what_can_go_wrong_in_a_program(sandbox, status):
    verdict = verdict_of(ran("run-a", "FAILED", sandbox, error="it says"), TaskResult(id="judge-a", status="SKIPPED"))
    assert (verdict.tests[0].status, verdict.tests[0].score, verdict.tests[0].passed) == (status, 0.0, False)
    assert verdict.tests[0].message == (sandbox.message or "it says")
    assert (verdict.passed, verdict.score) == (False, 0.25)


@pytest.mark.parametrize(
    ("sandbox", "status"),
    [
        (SandboxResult(status="OK", time=1.5), "time limit"),
        (SandboxResult(status="OK", memory=1001), "memory limit"),
        (SandboxResult(status="OK", time=1.0, memory=1000), "passed"),
    ],
)
def test_limits_of_the_group_count_even_if_the_sandbox_was_content(sandbox, status):
    assert verdict_of(ran("run-a", sandbox=sandbox)).tests[0].status == status


def test_a_failure_outside_the_sandbox():
    verdict = verdict_of(ran("run-a", "FAILED", FINE, error="output could not be read"))
    assert (verdict.tests[0].status, verdict.tests[0].message) == ("failed", "output could not be read")


def test_a_permitted_exit_code_is_no_failure():
    assert verdict_of(ran("run-a", sandbox=SandboxResult(status="OK", exitcode=3))).tests[0].passed


@pytest.mark.parametrize(
    ("task", "status", "score"),
    [
        (ran("judge-a", "FAILED", SandboxResult(status="RE", exitcode=1), stdout="0\n"), "wrong", 0.0),
        (ran("judge-a", "FAILED", SandboxResult(status="RE", exitcode=1), stdout="0.8\n"), "wrong", 0.0),
        (ran("judge-a", stdout="0.000000\n"), "wrong", 0.0),
        (ran("judge-a", "FAILED", SandboxResult(status="RE", exitcode=2), stderr="no file"), "judge failed", 0.0),
        (ran("judge-a", "FAILED", SandboxResult(status="SG", exitsig=11)), "judge failed", 0.0),
        (ran("judge-a", "OK", SandboxResult(status="TO"), stdout="1"), "judge failed", 0.0),
        (TaskResult(id="judge-a", status="FAILED", error="no"), "wrong", 0.0),
        (ran("judge-a", stdout="all is well"), "passed", 1.0),
        (ran("judge-a"), "passed", 1.0),
        (ran("judge-a", stdout="17"), "passed", 1.0),
        (ran("judge-a", stdout="-1"), "wrong", 0.0),
        (ran("judge-a", stdout="nan"), "passed", 1.0),
    ],
)
def test_what_a_judge_says(task, status, score):
    judged = verdict_of(task).tests[0]
    assert (judged.status, judged.score, judged.passed) == (status, score, status == "passed")


def test_a_program_that_does_not_compile():
    names = ("run-a", "judge-a", "run-b", "judge-b")
    verdict = verdict_of(
        ran("compile", "FAILED", SandboxResult(status="RE", exitcode=1), stdout="in main:\n", stderr="no such type\n"),
        *(TaskResult(id=name, status="SKIPPED") for name in names),
    )
    assert (verdict.passed, verdict.compiled, verdict.score) == (False, False, 0.0)
    assert verdict.compiler == "in main:\nno such type"
    assert {test.status for test in verdict.tests} == {"skipped"}
    assert {test.time for test in verdict.tests} == {None}


def test_a_compiler_that_says_nothing():
    verdict = verdict_of(TaskResult(id="compile", status="FAILED", error="the file is missing"))
    assert verdict.compiler == "the file is missing"


def test_what_is_missing_was_skipped():
    verdict = verdict_of(without=("run-b", "judge-b", "compile"))
    assert (verdict.tests[1].status, verdict.compiled) == ("skipped", False)


def test_the_worst_of_several_programs_is_shown():
    tasks = (*CONFIG.tasks, Task(id="run-a2", type="execution", test="A"))
    heavy = ran("run-a2", sandbox=SandboxResult(status="OK", time=0.9, wall_time=0.1, memory=7))
    results = Results(job_id="j", group="g", tasks=(ran("compile"), ran("run-a"), heavy, ran("judge-a"), ran("judge-a")))
    test = judge(JobConfig(job_id="j", groups=(), tasks=tasks), results).tests[0]
    assert (test.passed, test.time, test.wall_time, test.memory) == (True, 0.9, 0.75, 500)


def test_without_tests_compiling_is_all():
    config = JobConfig(job_id="j", groups=(), tasks=CONFIG.tasks[:2])
    assert judge(config, Results(job_id="j", group="g", tasks=(ran("compile"),))).passed
    assert not judge(config, Results(job_id="j", group="g", tasks=())).passed
