"""``${NAME}`` in job configurations."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.jobconfig import BoundDirectory, Box, HardwareLimits, Task

_OPEN: Final = "${"
_CLOSE: Final = "}"


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return a text with the known names replaced; unknown ones stay, and a value is not looked into again.

    Raises:
        EvaluationFailed: a ``${`` is not closed.
    """
    pieces: list[str] = []
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start)
        if end < 0:
            raise EvaluationFailed(f"a variable is not closed in {text[:200]!r}")
        name = text[start + len(_OPEN) : end]
        pieces += text[position:start], values.get(name, text[start : end + 1])
        position = end + 1
    return "".join([*pieces, text[position:]])


def expand_task(task: Task, values: Mapping[str, str]) -> Task:
    """Return a task with the variables replaced everywhere they are known. Raises :class:`EvaluationFailed`."""
    return replace(
        task,
        binary=expand(task.binary, values),
        arguments=tuple(expand(argument, values) for argument in task.arguments),
        box=None if task.box is None else _expand_box(task.box, values),
    )


def _expand_box(box: Box, values: Mapping[str, str]) -> Box:
    return replace(
        box,
        stdin=expand(box.stdin, values),
        stdout=expand(box.stdout, values),
        stderr=expand(box.stderr, values),
        copy_stdout=expand(box.copy_stdout, values),
        copy_stderr=expand(box.copy_stderr, values),
        chdir=expand(box.chdir, values),
        limits=tuple(_expand_limits(limits, values) for limits in box.limits),
    )


def _expand_limits(limits: HardwareLimits, values: Mapping[str, str]) -> HardwareLimits:
    bound = [BoundDirectory(expand(item.source, values), expand(item.target, values), item.modes) for item in limits.bound]
    return replace(limits, bound=tuple(bound))
