"""What an evaluation found, and ``result/result.yml`` (docs/protocols/job-config.md, "Results")."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from crossdock.runners.program.endings import FAILED, OK, SKIPPED
from crossdock.runners.program.sandbox.spec import Status

_KIB: Final = 1024
_SIMPLE: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_PLAIN: Final = range(0x20, 0x7F)

Value = str | int | float | bool
Document = Mapping[str, Value | Mapping[str, Value]]


class BoxResult(Struct, frozen=True, kw_only=True):
    """How a program in a box ended. Times are seconds, ``memory`` and ``max_rss`` bytes."""

    exit_code: int
    time: float
    wall_time: float
    memory: int
    max_rss: int
    status: Status
    signal: int
    killed: bool
    message: str
    switches_voluntary: int
    switches_forced: int


class TaskResult(Struct, frozen=True, kw_only=True):
    """How a task ended."""

    id: str
    status: Literal["OK", "FAILED", "SKIPPED"]
    error: str = ""
    stdout: str = ""
    stderr: str = ""
    box: BoxResult | None = None


def done(name: str) -> TaskResult:
    """Return the result of an internal task that worked."""
    return TaskResult(id=name, status=OK)


def failed(name: str, error: str, stderr: str = "") -> TaskResult:
    """Return the result of an internal task that did not."""
    return TaskResult(id=name, status=FAILED, error=error, stderr=stderr)


def skipped(name: str) -> TaskResult:
    """Return the result of a task that was not run."""
    return TaskResult(id=name, status=SKIPPED)


def results_document(job: str, group: str, results: Sequence[TaskResult]) -> dict[str, str | list[Document]]:
    """Return the results as they are written to JSON and YAML; without tasks there is no list."""
    document: dict[str, str | list[Document]] = {"job-id": job, "hw-group": group}
    if results:
        document["results"] = [_task(result) for result in results]
    return document


def cut(result: TaskResult, most: int) -> TaskResult:
    """Return a result with at most ``most`` characters of each of its texts."""
    return replace(result, error=result.error[:most], stdout=result.stdout[:most], stderr=result.stderr[:most])


def to_yaml(document: Mapping[str, str | list[Document]]) -> str:
    """Return a results document as YAML in ASCII, every text of a submission quoted, so that none becomes a number."""
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, str):
            lines.append(f"{key}: {_scalar(value)}")
            continue
        lines.append(f"{key}:")
        for item in value:
            dash = "- "
            for line in _lines(item):
                lines.append(f"  {dash}{line}")
                dash = "  "
    return "\n".join([*lines, ""])


def _task(result: TaskResult) -> Document:
    document: dict[str, Value | Mapping[str, Value]] = {"task-id": result.id, "status": result.status}
    if result.error:
        document["error_message"] = result.error
    if result.stdout or result.stderr:
        document["output"] = {"stdout": result.stdout, "stderr": result.stderr}
    if result.box is not None:
        document["sandbox_results"] = _box(result.box)
    return document


def _box(box: BoxResult) -> Mapping[str, Value]:
    return {
        "exitcode": box.exit_code,
        "time": _single(box.time),
        "wall-time": _single(box.wall_time),
        "memory": box.memory // _KIB,
        "max-rss": box.max_rss // _KIB,
        "status": box.status,
        "exitsig": box.signal,
        "killed": box.killed,
        "message": box.message,
        "csw-voluntary": box.switches_voluntary,
        "csw-forced": box.switches_forced,
    }


def _single(number: float) -> float:
    """Return a number as precise as one of 32 bits is, with nine digits, as the real worker writes it."""
    return float(f"{struct.unpack('<f', struct.pack('<f', number))[0]:.9g}")


def _lines(document: Document) -> Iterator[str]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(value))
        else:
            yield f"{key}: {value if key == 'status' else _scalar(value)}"


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, int):
        return str(value)
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SIMPLE:
        return _SIMPLE[character]
    if code in _PLAIN:
        return character
    if code <= 0xFF:  # noqa: PLR2004 - two hexadecimal digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four
