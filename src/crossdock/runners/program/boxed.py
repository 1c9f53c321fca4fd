"""Tasks that run a program: from the configuration to a box, and from how it ended to a result."""

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from crossdock.runners.program import tree
from crossdock.runners.program.endings import FAILED, OK, EvaluationErrored, EvaluationFailed
from crossdock.runners.program.inside import Inside
from crossdock.runners.program.jobconfig import BoundDirectory, Box, Task
from crossdock.runners.program.judging import JUDGES_DIR, judge_path, judges_bind
from crossdock.runners.program.limits import box_limits, limits_for
from crossdock.runners.program.results import BoxResult, TaskResult
from crossdock.runners.program.sandbox.spec import Bind, Program, Verdict
from crossdock.runners.program.settings import EvaluationSettings
from crossdock.runners.program.workspace import RESULT, SOURCE, TEMP, Workspace

_EXPIRED: Final = {"cpu": "Time limit exceeded", "wall": "Time limit exceeded (wall clock)"}
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/box", "ISOLATE_BOX": "/box"}
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")


class BoxedTask(Struct, frozen=True, kw_only=True):
    """A task that is ready to run. ``temporary`` are the files made only to be read once it has ended."""

    task: Task
    box: Box
    program: Program
    inside: Inside
    temporary: tuple[str, ...]


def prepare(task: Task, box: Box, workspace: Workspace, settings: EvaluationSettings) -> BoxedTask:
    """Return a task with everything that a box needs to know.

    Raises:
        EvaluationFailed: it asks for what no worker gives.
        EvaluationErrored: it asks for more than this one gives.
    """
    asked = limits_for(box, settings.group)
    parts = _working_directory(box.working_directory)
    directory = workspace.source.joinpath(*parts)
    bound = [_bind(each, workspace, settings.bindable) for each in asked.bound]
    binds = (*bound, *settings.binds, judges_bind(settings.working_directory))
    streams, temporary = _streams(task, box)
    program = Program(
        arguments=(judge_path(task.binary), *task.arguments),
        directory=directory,
        environment={**_ENVIRONMENT, **asked.environment, **settings.environment},
        binds=binds,
        stdin=box.stdin or None,
        stdout=streams.stdout or None,
        stderr=streams.stderr or None,
        merge=box.merge,
        chdir=box.chdir or None,
        network=settings.network and task.type == "initiation",
        no_locks=settings.no_locks,
        limits=box_limits(asked, settings.limits, task.id),
    )
    inside = Inside(workspace, str(directory), binds, box.chdir)
    return BoxedTask(task=task, box=streams, program=program, inside=inside, temporary=temporary)


def make_ready(boxed: BoxedTask, workspace: Workspace) -> None:
    """Check the directories of a program and let the program be executed, if it is a file of the job. It blocks.

    Raises:
        EvaluationFailed: the directory is not there, or a link is on the way to one that is bound.
    """
    parts = _working_directory(boxed.box.working_directory)
    found = tree.look(workspace.descriptor(SOURCE), parts)
    if found is None or not found.directory:
        raise EvaluationFailed(f"task {boxed.task.id!r}: there is no directory {boxed.box.working_directory[:200]!r}")
    for bind in boxed.program.binds:
        _check_way(boxed.task, bind, workspace)
    place = boxed.inside.locate(boxed.program.arguments[0])
    if place is not None and place[1]:
        with suppress(OSError), tree.open_file(*place) as file:
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o777 | 0o111)


def conclude(boxed: BoxedTask, verdict: Verdict, workspace: Workspace, settings: EvaluationSettings) -> TaskResult:
    """Return the result of a program that has ended, with its output; make the carbon copies. It blocks.

    Raises:
        EvaluationFailed: a carbon copy cannot be made.
        OSError: what it left cannot be tidied up.
    """
    for kind in (SOURCE, RESULT, TEMP):  # any of it may have been bound
        tree.prune(workspace.descriptor(kind))
    box = boxed.box
    wanted = settings.max_output if box.output else 0
    stdout = _beginning(boxed.inside, box.stdout, wanted)
    stderr = "" if box.merge else _beginning(boxed.inside, box.stderr, wanted)
    for name, target in ((box.stdout, box.copy_stdout), ("" if box.merge else box.stderr, box.copy_stderr)):
        if target:
            _copy(boxed, name, workspace, target, settings.max_carboncopy)
    for name in boxed.temporary:
        if (place := boxed.inside.locate(name)) is not None:
            tree.remove(*place)
    result = box_result(boxed.task, verdict)
    fine = result.status == OK
    error = "" if fine else f"Sandboxed program failed: {result.message}"
    return TaskResult(id=boxed.task.id, status=OK if fine else FAILED, error=error, stdout=stdout, stderr=stderr, box=result)


def box_result(task: Task, verdict: Verdict) -> BoxResult:
    """Return a verdict in the terms of the results, after the task's own idea of good exit codes."""
    result = BoxResult(
        exit_code=verdict.exit_code,
        time=verdict.cpu,
        wall_time=verdict.wall,
        memory=verdict.memory,
        max_rss=verdict.max_rss,
        status=verdict.status,
        signal=verdict.signal,
        killed=verdict.killed,
        message=verdict.message or _EXPIRED.get(verdict.exceeded, ""),
        switches_voluntary=verdict.switches_voluntary,
        switches_forced=verdict.switches_forced,
    )
    if task.success is None or result.status not in (OK, "RE"):
        return result
    if verdict.exceeded:
        return result
    if result.exit_code in task.success:
        return replace(result, status="OK", message="")
    if result.status == OK:
        message = f"Exited with code {result.exit_code}, which is not considered a success (exit codes override)"
        return replace(result, status="RE", message=message)
    return result


def _working_directory(text: str) -> tuple[str, ...]:
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in parts or "\0" in text:
        raise EvaluationFailed(f"the working directory {text[:200]!r} is not one below the submission")
    return parts


def _streams(task: Task, box: Box) -> tuple[Box, tuple[str, ...]]:
    """Return the box with names for the streams that are wanted but have none, and these names."""
    made: list[str] = []

    def name(given: str, copied: str, kind: str) -> str:
        if given or not (box.output or copied):
            return given
        made.append(f"/box/{_ODD.sub('_', task.id[:60])}.{secrets.token_hex(5)}.output.{kind}")
        return made[-1]

    stdout = name(box.stdout, box.copy_stdout, "stdout")
    stderr = box.stderr if box.merge else name(box.stderr, box.copy_stderr, "stderr")
    return replace(box, stdout=stdout, stderr=stderr), tuple(made)


def _bind(bound: BoundDirectory, workspace: Workspace, bindable: Sequence[Path]) -> Bind:
    target = os.path.normpath(os.path.join("/", bound.target))  # noqa: PTH118 - a path in the box
    if target in ("/", "/box", JUDGES_DIR) or "\0" in bound.target:
        raise EvaluationFailed(f"{bound.target[:200]!r} is no place for a bound directory")
    if "fs" in bound.modes:
        raise EvaluationErrored("file systems are not bound here, only directories")
    bind = Bind(
        target=target,
        writable="rw" in bound.modes or not bound.source,
        executable="noexec" not in bound.modes,
        devices="dev" in bound.modes,
        optional="maybe" in bound.modes,
    )
    if not bound.source:
        return bind
    source = Path(os.path.normpath(os.path.join(workspace.source, bound.source)))  # noqa: PTH118 - links count only later
    if any(source.is_relative_to(place) for place in bindable):
        real = source.resolve()
        if not any(real.is_relative_to(place.resolve()) for place in bindable):
            raise EvaluationErrored(f"{bound.source[:200]!r} leads out of what may be bound on this worker")
        return replace(bind, source=real)
    try:
        workspace.locate(str(source))
    except EvaluationFailed:
        raise EvaluationErrored(f"{bound.source[:200]!r} may not be bound on this worker") from None
    return replace(bind, source=source, devices=False)


def _check_way(task: Task, bind: Bind, workspace: Workspace) -> None:
    """Look whether a directory of the job that is bound is what its path says; an earlier box may have left links."""
    if bind.source is None:
        return
    try:
        place = workspace.locate(str(bind.source))
    except EvaluationFailed:
        return  # not the job's
    if tree.leads_astray(*place):
        raise EvaluationFailed(f"task {task.id!r}: there is a link on the way to what is bound at {bind.target[:200]!r}")


def _beginning(inside: Inside, name: str, limit: int) -> str:
    """Return the first bytes of a file of a program as text, nothing if it is not to be had."""
    place = inside.locate(name) if name and limit else None
    if place is None or not place[1]:
        return ""
    try:
        with tree.open_file(*place) as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def _copy(boxed: BoxedTask, name: str, workspace: Workspace, target: str, limit: int) -> None:
    to = workspace.locate(target)
    place = boxed.inside.locate(name) if name else None
    if place is None or not place[1] or not to[1]:
        return
    try:
        with tree.open_file(*place) as source, tree.create_file(*to, replace=True) as copy:
            tree.copy(source, copy, limit)
    except OSError as error:
        raise EvaluationFailed(f"task {boxed.task.id!r}: no copy of its output can be made: {error}") from error
