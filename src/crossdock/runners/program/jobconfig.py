"""``job-config.yml``: what an evaluation consists of (docs/protocols/job-config.md is the normative text)."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from crossdock.runners.program.yamltext import Fields, Node, Scalar, WrongShape, integer, parse

TaskType = Literal["inner", "initiation", "execution", "evaluation"]
_TYPES: Final[Mapping[str, TaskType]] = {
    "initiation": "initiation",
    "execution": "execution",
    "evaluation": "evaluation",
}
_CODES: Final = 255
_SANDBOX: Final = "isolate"
_MODES: Final = ("rw", "noexec", "fs", "maybe", "dev", "tmp", "norec")


class BoundDirectory(Struct, frozen=True):
    """A directory to be seen in the box. ``source`` is empty for one in memory."""

    source: str
    target: str
    modes: frozenset[str] = frozenset()


class HardwareLimits(Struct, frozen=True, kw_only=True):
    """Limits for one hardware group. Times are seconds, sizes KiB; None leaves it to the worker."""

    group: str
    time: float | None = None
    wall_time: float | None = None
    extra_time: float | None = None
    memory: int | None = None
    extra_memory: int | None = None
    stack_size: int | None = None
    parallel: int | None = None
    disk_size: int | None = None
    disk_files: int | None = None
    environment: Mapping[str, str] = {}
    bound: tuple[BoundDirectory, ...] = ()


class Box(Struct, frozen=True, kw_only=True):
    """How a program is run. Paths are as the program sees them, but for the carbon copies and the working directory."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    merge: bool = False
    output: bool = False
    copy_stdout: str = ""
    copy_stderr: str = ""
    chdir: str = ""
    working_directory: str = ""
    limits: tuple[HardwareLimits, ...] = ()


class Task(Struct, frozen=True, kw_only=True):
    """A step. ``box`` None: an internal one. ``success``: the exit codes that are fine, None for 0 alone."""

    id: str
    binary: str
    arguments: tuple[str, ...] = ()
    priority: int = 1
    fatal: bool = False
    dependencies: tuple[str, ...] = ()
    success: frozenset[int] | None = None
    test: str = ""
    type: TaskType = "inner"
    box: Box | None = None


class JobConfig(Struct, frozen=True, kw_only=True):
    """A job: ``collector`` is where its files come from, ``groups`` the hardware groups it is for."""

    id: str
    collector: str
    groups: tuple[str, ...]
    log: bool = False
    tasks: tuple[Task, ...] = ()


def read_config(text: bytes) -> JobConfig:
    """Return what a configuration says. Unknown members are ignored; of two tasks with the same id the first counts.

    Raises:
        NotYaml: it cannot be parsed.
        WrongShape: something that is needed is missing, or of the wrong kind.
    """
    document = Fields(parse(text), "the job configuration")
    submission = document.fields("submission")
    if submission is None:
        raise WrongShape("the job configuration has no submission")
    if not document.has("tasks"):
        raise WrongShape("the job configuration has no tasks")
    if not submission.has("hw-groups"):
        raise WrongShape("submission has no hw-groups")
    tasks: dict[str, Task] = {}
    for fields in document.each("tasks"):
        task = _task(fields)
        tasks.setdefault(task.id, task)
    return JobConfig(
        id=submission.text("job-id"),
        collector=submission.text("file-collector"),
        groups=submission.texts("hw-groups"),
        log=submission.boolean("log"),
        tasks=tuple(tasks.values()),
    )


def _task(fields: Fields) -> Task:
    name = fields.text("task-id")
    fields.place = f"task {name[:80]!r}"
    priority = fields.integer("priority")
    if priority == 0:
        raise WrongShape(f"the priority of {fields.place} is 0")
    command = fields.fields("cmd")
    if command is None:
        raise WrongShape(f"{fields.place} has no cmd")
    box = fields.fields("sandbox")
    return Task(
        id=name,
        binary=command.text("bin"),
        arguments=command.texts("args"),
        priority=1 if priority is None else priority,
        fatal=fields.boolean("fatal-failure"),
        dependencies=fields.texts("dependencies"),
        success=_success(command),
        test=fields.text("test-id", ""),
        type=_TYPES.get(fields.text("type", "").lower(), "inner"),
        box=None if box is None else _box(box),
    )


def _success(command: Fields) -> frozenset[int] | None:
    """Return the permitted exit codes: a number, or a list of numbers and of pairs [from, to]."""
    node = command.node("success-exit-codes")
    if node is None:
        return None
    if isinstance(node, Scalar):
        node = [node]
    if not isinstance(node, list):
        raise WrongShape(f"success-exit-codes of {command.place} are neither a number nor a list")
    codes: set[int] = set()
    for item in node:
        first, last = _range(item, command.place)
        codes.update(range(max(first, 0), min(last, _CODES) + 1))
    return frozenset(codes)


def _range(node: Node, place: str) -> tuple[int, int]:
    ends = node if isinstance(node, list) else [node, node]
    numbers = [integer(end.text) if isinstance(end, Scalar) else None for end in ends]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:  # noqa: PLR2004 - from and to
        raise WrongShape(f"an exit code of {place} is neither a number nor a pair of them")
    return numbers[0], numbers[1]


def _box(fields: Fields) -> Box:
    if (name := fields.text("name")) != _SANDBOX:
        raise WrongShape(f"{fields.place} is called {name[:80]!r}; the only one there is is {_SANDBOX!r}")
    return Box(
        stdin=fields.text("stdin", ""),
        stdout=fields.text("stdout", ""),
        stderr=fields.text("stderr", ""),
        merge=fields.boolean("stderr-to-stdout"),
        output=fields.boolean("output"),
        copy_stdout=fields.text("carboncopy-stdout", ""),
        copy_stderr=fields.text("carboncopy-stderr", ""),
        chdir=fields.text("chdir", ""),
        working_directory=fields.text("working-directory", ""),
        limits=tuple(_limits(item) for item in fields.each("limits")),
    )


def _limits(fields: Fields) -> HardwareLimits:
    return HardwareLimits(
        group=fields.text("hw-group-id"),
        time=fields.number("time"),
        wall_time=fields.number("wall-time"),
        extra_time=fields.number("extra-time"),
        memory=fields.integer("memory"),
        extra_memory=fields.integer("extra-memory"),
        stack_size=fields.integer("stack-size"),
        parallel=fields.integer("parallel"),
        disk_size=fields.integer("disk-size"),
        disk_files=fields.integer("disk-files"),
        environment=fields.mapping("environ-variable"),
        bound=tuple(_bound(item) for item in fields.each("bound-directories")),
    )


def _bound(fields: Fields) -> BoundDirectory:
    source, target = fields.text("src", ""), fields.text("dst", "")
    mode = fields.text("mode", "").lower()
    modes = frozenset(word for word in _MODES if word in mode)
    if not source and not target:
        raise WrongShape(f"{fields.place} has neither src nor dst")
    if "tmp" in modes and (source or "fs" in modes):
        raise WrongShape(f"{fields.place} is in memory, which excludes src and fs")
    if "tmp" in modes:
        return BoundDirectory("", target, modes)
    return BoundDirectory(source or target, target or source, modes)
