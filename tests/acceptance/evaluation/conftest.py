"""A runner over the real sandbox, and exercises for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Tier
from unit.program.scene import Scene, scene, task


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    """A runner; nothing may be left of its jobs in the end."""
    boxes = Boxes(tmp_path / "boxes", slots=2, minimum=Tier.LANDLOCK)
    async with scene(tmp_path, boxes) as found:
        yield found
        assert found.left == []


COMPILERS = {
    "c": [["/usr/bin/gcc", "-Wall", "-O2", "-o", "program", "solution.c"]],
    "python": [["/usr/bin/python3", "-m", "py_compile", "solution.py"]],
    "shell": [["/bin/sh", "-n", "solution.sh"]],
}
PROGRAMS = {"c": ["program"], "python": ["/usr/bin/python3", "solution.py"], "shell": ["/bin/sh", "solution.sh"]}
NAMES = {"c": "solution.c", "python": "solution.py", "shell": "solution.sh"}
EXPECTED = b"sum 6\nmax 3\n"


def exercise(language: str) -> list[dict[str, Any]]:
    """Return the tasks of an exercise: fetch, compile, run, judge, keep, as a course system writes them."""
    own = {"hw-group-id": "group1", "time": "0.5", "wall-time": 3, "memory": 65536, "parallel": 4, "disk-size": 8192}
    program = PROGRAMS[language]
    first = program[0] if program[0].startswith("/") else f"${{EVAL_DIR}}/{program[0]}"
    run = {"stdin": "${EVAL_DIR}/input", "stdout": "${EVAL_DIR}/actual", "output": True, "limits": [own]}
    return [
        *(
            task("compile", *command, type="initiation", priority=9, **{"fatal-failure": "true"}, box={"output": "true"})
            for command in COMPILERS[language]
        ),
        task("input", "fetch", "input-1", "${SOURCE_DIR}/input", priority=5),
        task("expected", "fetch", "expected-1", "${SOURCE_DIR}/expected", priority=5),
        task("run", first, *program[1:], type="execution", dependencies=["compile", "input"], box=run, **{"test-id": "A"}),
        task(
            "judge",
            "${JUDGES_DIR}/recodex-token-judge",
            *("--log-limit", "4k", "--ignore-trailing-whitespace", "${EVAL_DIR}/expected", "${EVAL_DIR}/actual"),
            type="evaluation",
            dependencies=["run", "expected"],
            box={"output": True},
            **{"test-id": "A"},
        ),
        task("keep", "dumpdir", "${SOURCE_DIR}", "${RESULT_DIR}/files", "64", "program", dependencies=["compile"]),
    ]


def submit(here: Scene, language: str, solution: str, name: str = "job_1") -> str:
    """Put a solution of an exercise on the server; return its URL."""
    here.server.files["/exercises/input-1"] = b"1 2 3\n"
    here.server.files["/exercises/expected-1"] = EXPECTED
    return here.submit(exercise(language), {NAMES[language]: solution.encode()}, **{"job-id": name})
