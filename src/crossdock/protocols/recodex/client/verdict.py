"""From the results of tasks to what a person wants to know: which tests passed, and the score.

The rules are those of the ReCodEx frontend (sections 7.6 and 7.7 of the specification).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from crossdock.protocols.recodex.client.config import EVALUATION, EXECUTION, INITIATION, JobConfig, Limits, Task
from crossdock.protocols.recodex.client.results import OK, SKIPPED, Results, SandboxResult, TaskResult

PASSED: Final = "passed"
_JUDGED_WRONG: Final = 1


class JudgedTest(Struct, frozen=True, kw_only=True):
    """A test. ``status`` is ``passed`` or says in words what went wrong, ``message`` says more where there is more.

    ``time`` (CPU) and ``wall_time`` are seconds, ``memory`` is KiB: the most that any of its programs took. They are None
    if nothing ran. ``score`` is 0 to 1. ``log`` is what the judge says.
    """

    test: str
    status: str
    passed: bool
    score: float
    time: float | None = None
    wall_time: float | None = None
    memory: int | None = None
    message: str = ""
    log: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """The outcome of an evaluation.

    ``compiled`` says whether all initiation tasks succeeded; ``compiler`` is what those that did not have said. ``score`` is
    the mean of the tests' scores. ``passed`` says that it compiled and every test passed.
    """

    passed: bool
    compiled: bool
    score: float
    tests: tuple[JudgedTest, ...]
    compiler: str = ""


def judge(config: JobConfig, results: Results) -> Verdict:
    """Return the outcome: a test is its execution tasks and its evaluation task, linked by ``test-id``.

    Tasks of the configuration that are missing from the results were skipped.
    """
    found = {task.id: task for task in reversed(results.tasks)}
    ended = [(task, found.get(task.id, TaskResult(id=task.id, status=SKIPPED))) for task in config.tasks]
    broken = [result for task, result in ended if task.type == INITIATION and result.status != OK]
    names = dict.fromkeys(task.test for task, _ in ended if task.test and task.type in (EXECUTION, EVALUATION))
    tests = tuple(_judge_test(name, [pair for pair in ended if pair[0].test == name], results.group) for name in names)
    score = sum(test.score for test in tests) / len(tests) if tests else float(not broken)
    return Verdict(
        passed=not broken and all(test.passed for test in tests),
        compiled=not broken,
        score=score,
        tests=tests,
        compiler="\n".join(filter(None, map(_said, broken))),
    )


def _judge_test(name: str, tasks: Sequence[tuple[Task, TaskResult]], group: str) -> JudgedTest:
    executions = [(result, task.limits.get(group, Limits())) for task, result in tasks if task.type == EXECUTION]
    evaluations = [result for task, result in tasks if task.type == EVALUATION]
    ran = [result.sandbox for result, _ in executions if result.sandbox is not None]
    status, message = next(filter(None, (_trouble(*each) for each in executions)), ("", ""))
    scores = [_score(result) for result in evaluations]
    score = min(scores, default=1.0)
    if not status:
        status, message = next(filter(None, map(_judgement, evaluations)), ("", ""))
    if not status and score == 0:
        status = "wrong"
    return JudgedTest(
        test=name,
        status=status or PASSED,
        passed=not status,
        # A test that failed has no score, even if its judge gave one.
        score=0.0 if status else score,
        time=_most(sandbox.time for sandbox in ran),
        wall_time=_most(sandbox.wall_time for sandbox in ran),
        memory=max((sandbox.memory for sandbox in ran), default=None),
        message=message,
        log="\n".join(filter(None, map(_judge_log, evaluations))),
    )


def _most(values: Iterable[float]) -> float | None:
    return max(values, default=None)


def _trouble(result: TaskResult, limits: Limits) -> tuple[str, str] | None:
    """Return what went wrong in a task that runs the submission, None if nothing."""
    if result.status == SKIPPED:
        return "skipped", ""
    sandbox = result.sandbox
    text = (sandbox.message if sandbox else "") or result.error
    words = _words(sandbox, limits) if sandbox else ""
    if not words and result.status == OK:
        return None
    return words or "failed", text


def _words(sandbox: SandboxResult, limits: Limits) -> str:
    over_memory = limits.memory is not None and sandbox.memory > limits.memory
    at_memory = limits.memory is not None and sandbox.memory >= limits.memory
    over_time = limits.time is not None and sandbox.time > limits.time
    if sandbox.status == "TO" or over_time:
        return "time limit (wall)" if "wall" in sandbox.message else "time limit"
    if over_memory or (at_memory and sandbox.status != OK):
        return "memory limit"
    words = {"SG": f"signal {sandbox.exitsig}", "RE": f"exit code {sandbox.exitcode}", "XX": "sandbox error"}
    return "" if sandbox.status == OK else words.get(sandbox.status, "failed")


def _judgement(result: TaskResult) -> tuple[str, str] | None:
    """Return what a judge found wrong, None if nothing."""
    if result.status == OK and (result.sandbox is None or result.sandbox.status == OK):
        return None
    if result.status == SKIPPED:
        return "skipped", ""
    if result.sandbox is None or (result.sandbox.status == "RE" and result.sandbox.exitcode == _JUDGED_WRONG):
        return "wrong", "" if result.sandbox else result.error
    return "judge failed", result.stderr.strip() or result.sandbox.message or result.error


def _score(result: TaskResult) -> float:
    """Return what the judge printed first, 0 to 1; if that is no number, whether it was content."""
    number = _number(result.stdout)
    return float(result.status == OK) if number is None else min(1.0, max(0.0, number))


def _number(stdout: str) -> float | None:
    try:
        number = float(stdout.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return None
    return None if number != number else number  # noqa: PLR0124 - not a number


def _judge_log(result: TaskResult) -> str:
    said = result.stdout.strip()
    log = said if _number(said) is None else said.partition(said.split(maxsplit=1)[0])[2].strip()
    return "\n".join(filter(None, (log, result.stderr.strip())))


def _said(result: TaskResult) -> str:
    printed = "\n".join(filter(None, (result.stdout.strip("\n"), result.stderr.strip("\n"))))
    return printed or result.error or (result.sandbox.message if result.sandbox else "") or f"{result.id}: {result.status}"
