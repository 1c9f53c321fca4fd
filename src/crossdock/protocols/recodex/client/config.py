"""What a client has to know of a job's configuration: its id, its tasks, and which test each belongs to."""

from typing import Any, Final

import yaml
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.yamltext import Fields, NotYaml, WrongShape, parse

CONFIG: Final = "job-config.yml"

INITIATION: Final = "initiation"
EXECUTION: Final = "execution"
EVALUATION: Final = "evaluation"

_JOB_ID: Final = ("submission", "job-id")
_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Limits(Struct, frozen=True, gc=False):
    """What a task may use: seconds of CPU, seconds on the clock, KiB of memory. None: the worker's own limit."""

    time: float | None = None
    wall_time: float | None = None
    memory: int | None = None


class Task(Struct, frozen=True, kw_only=True):
    """A task: ``type`` is ``initiation``, ``execution``, ``evaluation`` or ``inner``, ``test`` is empty without a test."""

    id: str
    type: str = "inner"
    test: str = ""
    limits: dict[str, Limits] = {}


class JobConfig(Struct, frozen=True, kw_only=True):
    """A job's configuration as far as its client is concerned. ``groups`` are hardware groups."""

    job_id: str
    groups: tuple[str, ...]
    tasks: tuple[Task, ...]


def read_config(text: bytes) -> JobConfig:
    """Return what a ``job-config.yml`` says. What only workers need is not looked at.

    Raises:
        CrossdockError: ``invalid`` if it is no map, or has no ``submission`` or ``tasks``.
    """
    try:
        return _read(Fields(parse(text), CONFIG))
    except NotYaml as error:
        raise _no_yaml(error) from None
    except WrongShape as error:
        raise CrossdockError(Code.INVALID, str(error)) from None


def replace_job_id(text: bytes, job: str) -> bytes:
    """Return the configuration with another ``job-id``; nothing else of it changes, comments included.

    Raises:
        CrossdockError: ``invalid`` if it has none, or something else refers to it.
    """
    try:
        characters = text.decode("utf-8-sig")
        parse(text, nul=True)  # composing calls itself for every level, so it must be known that there are few
        start, end = _job_id(characters.encode())
        changed = characters[:start] + "'" + job.replace("'", "''") + "'" + characters[end:]
        parse(changed.encode(), nul=True)  # an anchor has gone with what it stood at
    except UnicodeDecodeError:
        raise CrossdockError(Code.INVALID, f"{CONFIG} is not UTF-8") from None
    except NotYaml as error:
        raise _no_yaml(error) from None
    return changed.encode()


def _job_id(text: bytes) -> tuple[int, int]:
    """Return where the job's id begins and ends, in characters."""
    loader = _LOADER(text)
    try:
        node = loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()
    for key in _JOB_ID:
        pairs: list[Any] = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if name.value == key), None)
    if not isinstance(node, yaml.ScalarNode):
        raise CrossdockError(Code.INVALID, f"{CONFIG} has no {'.'.join(_JOB_ID)}")
    return node.start_mark.index, node.end_mark.index


def _read(document: Fields) -> JobConfig:
    submission = document.fields("submission")
    if submission is None:
        raise WrongShape(f"{document.place} has no submission")
    if not document.has("tasks"):
        raise WrongShape(f"{document.place} has no tasks")
    tasks: dict[str, Task] = {}
    for fields in document.each("tasks"):
        task = _task(fields)
        # Of two tasks with one id the real worker runs the first and says nothing of the second.
        tasks.setdefault(task.id, task)
    return JobConfig(job_id=submission.text("job-id", ""), groups=submission.texts("hw-groups"), tasks=tuple(tasks.values()))


def _task(fields: Fields) -> Task:
    identifier = fields.text("task-id")
    kind = fields.text("type", "").lower()
    sandbox = fields.fields("sandbox")
    limits = () if sandbox is None else sandbox.each("limits")
    return Task(
        id=identifier,
        type=kind if kind in (INITIATION, EXECUTION, EVALUATION) else "inner",
        test=fields.text("test-id", ""),
        limits={
            entry.text("hw-group-id", ""): Limits(entry.number("time"), entry.number("wall-time"), entry.integer("memory"))
            for entry in limits
        },
    )


def _no_yaml(error: NotYaml) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"{CONFIG} is no YAML that can be used: {' '.join(str(error).split())[:300]}")
