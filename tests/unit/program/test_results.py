"""``result.yml``, limits and verdicts: what is written, and what it is made of."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crossdock.runners.program.boxed import box_result
from crossdock.runners.program.endings import EvaluationErrored
from crossdock.runners.program.jobconfig import Box, HardwareLimits, Task
from crossdock.runners.program.limits import box_limits, limits_for
from crossdock.runners.program.results import BoxResult, TaskResult, done, failed, results_document, skipped, to_yaml
from crossdock.runners.program.sandbox.spec import Tier, Verdict
from crossdock.runners.program.settings import WorkerLimits

BOX = BoxResult(
    exit_code=0,
    time=0.015,
    wall_time=0.035,
    memory=3792 * 1024,
    max_rss=7944 * 1024 + 1023,
    status="OK",
    signal=0,
    killed=False,
    message="",
    switches_voluntary=16,
    switches_forced=87,
)

WRITTEN = r"""job-id: "student_1"
hw-group: "group1"
results:
  - task-id: "A"
    status: OK
    output:
      stdout: "1.000000\n"
      stderr: "\xed\u0159\U0001f600 \"quoted\" \\ \t\x00\x7f\ufffd"
    sandbox_results:
      exitcode: 0
      time: 0.0149999997
      wall-time: 0.0350000001
      memory: 3792
      max-rss: 7944
      status: OK
      exitsig: 0
      killed: false
      message: ""
      csw-voluntary: 16
      csw-forced: 87
  - task-id: "B"
    status: FAILED
    error_message: "why"
    output:
      stdout: ""
      stderr: "You forgot it"
  - task-id: "C"
    status: SKIPPED
  - task-id: "007"
    status: OK
"""


def test_result_yml_is_as_the_frontend_reads_it() -> None:
    odd = 'í\u0159\U0001f600 "quoted" \\ \t\0\x7f\ufffd'
    results = [
        TaskResult(id="A", status="OK", stdout="1.000000\n", stderr=odd, box=BOX),
        failed("B", "why", "You forgot it"),
        skipped("C"),
        done("007"),
    ]
    document = results_document("student_1", "group1", results)
    assert to_yaml(document) == WRITTEN
    assert yaml.safe_load(WRITTEN) == document


def test_without_tasks_there_are_no_results() -> None:
    assert to_yaml(results_document("1", "g", [])) == 'job-id: "1"\nhw-group: "g"\n'


@given(
    st.lists(st.builds(TaskResult, id=st.text(), status=st.just("OK"), error=st.text(), stdout=st.text(), stderr=st.text()))
)
def test_any_text_comes_back_from_ascii(results: list[TaskResult]) -> None:
    document = results_document("1", "g", results)
    text = to_yaml(document)
    assert text.isascii()
    read = yaml.safe_load(text)
    assert [each["task-id"] for each in read.get("results", [])] == [result.id for result in results]
    assert read == document


@given(st.floats(0, 1e9))
def test_numbers_are_those_of_32_bits(number: float) -> None:
    box = TaskResult(id="A", status="OK", box=replace(BOX, time=number))
    read = yaml.safe_load(to_yaml(results_document("1", "g", [box])))["results"][0]["sandbox_results"]["time"]
    assert float(read) == pytest.approx(number, rel=1e-7, abs=1e-40)


# Limits

OWN = WorkerLimits(
    time=10, wall_time=20, extra_time=2, memory=100 << 20, extra_memory=0, stack=8 << 20, processes=16, disk=1 << 20
)


def limits(**asked: Any) -> Any:
    return box_limits(HardwareLimits(group="g", **asked), OWN, "task")


def test_without_a_word_the_worker_decides() -> None:
    found = limits()
    assert (found.cpu, found.wall, found.extra, found.memory) == (10, 20, 2, 100 << 20)
    assert (found.stack, found.processes, found.disk, found.inodes) == (8 << 20, 16, 1 << 20, 20_000)
    assert limits_for(Box(limits=(HardwareLimits(group="other", time=1.0),)), "g") == HardwareLimits(group="g")


def test_what_is_asked_for_is_given() -> None:
    found = limits(
        time=0.5, wall_time=1.5, extra_time=0.1, memory=1000, stack_size=100, parallel=2, disk_size=10, disk_files=5
    )
    assert (found.cpu, found.wall, found.extra, found.memory) == (0.5, 1.5, 0.1, 1_024_000)
    assert (found.stack, found.processes, found.disk, found.file_size, found.inodes) == (102_400, 2, 10_240, 10_240, 5)


@pytest.mark.parametrize(
    "asked",
    [
        {"time": 10.5},
        {"wall_time": 21},
        {"extra_time": 3},
        {"memory": (100 << 10) + 1},
        {"stack_size": 9000},
        {"parallel": 17},
        {"disk_size": 1025},
        {"disk_files": 20_001},
    ],
)
def test_more_than_the_worker_has_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(EvaluationErrored, match="worker allows"):
        limits(**asked)


def test_no_limit_is_what_the_worker_says() -> None:
    assert limits(parallel=0).processes == 16
    assert limits(stack_size=0).stack == 8 << 20
    free = WorkerLimits(processes=0, stack=0)
    assert box_limits(HardwareLimits(group="g", parallel=5), free, "t").processes == 5
    assert box_limits(HardwareLimits(group="g"), free, "t").processes is None
    assert box_limits(HardwareLimits(group="g"), free, "t").stack is None


# Verdicts


def verdict(**figures: Any) -> Verdict:
    return Verdict(tier=Tier.CGROUP, **figures)


@pytest.mark.parametrize(
    ("success", "given_", "status", "message"),
    [
        (None, {"status": "OK"}, "OK", ""),
        (None, {"status": "RE", "exit_code": 3, "message": "why"}, "RE", "why"),
        ({3}, {"status": "RE", "exit_code": 3, "message": "why"}, "OK", ""),
        ({3}, {"status": "RE", "exit_code": 4, "message": "why"}, "RE", "why"),
        ({3}, {"status": "OK"}, "RE", "Exited with code 0, which is not considered a success (exit codes override)"),
        ({0, 3}, {"status": "OK"}, "OK", ""),
        ({0, 3, 137}, {"status": "SG", "signal": 9, "message": "killed"}, "SG", "killed"),
        ({0}, {"status": "TO", "exceeded": "cpu", "killed": True}, "TO", "Time limit exceeded"),
        ({0}, {"status": "TO", "exceeded": "wall"}, "TO", "Time limit exceeded (wall clock)"),
        ({0}, {"status": "XX", "message": "broken"}, "XX", "broken"),
        ({1}, {"status": "RE", "exit_code": 1, "exceeded": "disk", "message": "full"}, "RE", "full"),
    ],
)
def test_verdicts(success: set[int] | None, given_: dict[str, Any], status: str, message: str) -> None:
    task = Task(id="t", binary="b", success=None if success is None else frozenset(success))
    result = box_result(task, verdict(**given_))
    assert (result.status, result.message) == (status, message)
    assert result.exit_code == given_.get("exit_code", 0)
