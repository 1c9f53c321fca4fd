"""Reading job configurations as leniently as they are written, their order, and their variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.jobconfig import BoundDirectory, Box, HardwareLimits, JobConfig, Task, read_config
from crossdock.runners.program.order import ordered
from crossdock.runners.program.variables import expand, expand_task
from crossdock.runners.program.yamltext import Fields, NotYaml, Scalar, WrongShape, integer, parse

FULL = b"""
submission:
    job-id: student_1
    file-collector: http://files/exercise-file
    hw-groups: [group1, "group2"]
    log: "true"
    unknown: {a: [b]}
tasks:
    - task-id: compile
      priority: "4"
      fatal-failure: YES
      test-id: A
      cmd:
        bin: /usr/bin/gcc
        args: [-o, a.out, "solution.c", 1.50, yes, ~]
        success-exit-codes: [0, "3", [10, 12], [250, 999], -4, 300]
      type: Initiation
      sandbox:
        name: isolate
        stdin: in
        stdout: out
        stderr: err
        stderr-to-stdout: off
        output: 'on'
        carboncopy-stdout: ${RESULT_DIR}/out
        carboncopy-stderr: ${RESULT_DIR}/err
        chdir: ${EVAL_DIR}
        working-directory: sub
        limits:
            - hw-group-id: group1
              time: "2.5"
              wall-time: 5
              extra-time: .5
              memory: 0x100
              extra-memory: 1
              stack-size: 010
              parallel: 0
              disk-size: 20
              disk-files: 30
              disk-quotas: false
              environ-variable: {A: 1, B: , C: "yes"}
              bound-directories:
                - {src: "${SOURCE_DIR}/x", dst: /x, mode: "RW,NOEXEC"}
                - {src: /only}
                - {dst: /scratch, mode: tmp}
    - task-id: judge
      dependencies: [compile]
      type: something
      cmd: {bin: rm, success-exit-codes: 7}
    - task-id: compile
      cmd: {bin: never}
"""


def test_every_member() -> None:
    config = read_config(FULL)
    limits = HardwareLimits(
        group="group1",
        time=2.5,
        wall_time=5.0,
        extra_time=0.5,
        memory=256,
        extra_memory=1,
        stack_size=8,
        parallel=0,
        disk_size=20,
        disk_files=30,
        environment={"A": "1", "B": "", "C": "yes"},
        bound=(
            BoundDirectory("${SOURCE_DIR}/x", "/x", frozenset({"rw", "noexec"})),
            BoundDirectory("/only", "/only"),
            BoundDirectory("", "/scratch", frozenset({"tmp"})),
        ),
    )
    box = Box(
        stdin="in",
        stdout="out",
        stderr="err",
        output=True,
        copy_stdout="${RESULT_DIR}/out",
        copy_stderr="${RESULT_DIR}/err",
        chdir="${EVAL_DIR}",
        working_directory="sub",
        limits=(limits,),
    )
    compiling = Task(
        id="compile",
        binary="/usr/bin/gcc",
        arguments=("-o", "a.out", "solution.c", "1.50", "yes", "~"),
        priority=4,
        fatal=True,
        success=frozenset({0, 3, 10, 11, 12, 250, 251, 252, 253, 254, 255}),
        test="A",
        type="initiation",
        box=box,
    )
    judging = Task(id="judge", binary="rm", dependencies=("compile",), success=frozenset({7}))
    assert config == JobConfig(
        id="student_1",
        collector="http://files/exercise-file",
        groups=("group1", "group2"),
        log=True,
        tasks=(compiling, judging),
    )


MINIMAL = "submission: {job-id: 1, file-collector: http://f, hw-groups: [g]}\ntasks: %s\n"


def one(task: str) -> Task:
    return read_config((MINIMAL % f"[{task}]").encode()).tasks[0]


def test_the_least_there_can_be() -> None:
    assert read_config((MINIMAL % "[]").encode()) == JobConfig(id="1", collector="http://f", groups=("g",))
    assert one("{task-id: 5, cmd: {bin: rm}}") == Task(id="5", binary="rm")


@pytest.mark.parametrize("word", ["y", "Yes", "TRUE", "on", "'true'", '"Y"'])
def test_what_is_true(word: str) -> None:
    assert one(f"{{task-id: a, cmd: {{bin: b}}, fatal-failure: {word}}}").fatal


@pytest.mark.parametrize("word", ["n", "No", "FALSE", "off", "'false'", "~", ""])
def test_what_is_not(word: str) -> None:
    assert not one(f"{{task-id: a, cmd: {{bin: b}}, fatal-failure: {word}}}").fatal


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), (" 7 ", 7), ("010", 8), ("0x1F", 31), ("-3", -3), ("+3", 3), ("0", 0)]
    + [(text, None) for text in ("", "x", "1.5", "08", "0x", "1e3", "1" * 30, "--1", "\uff11")],
)
def test_integers_are_those_of_c(text: str, number: int | None) -> None:
    assert integer(text) == number


def boxed(limits: str) -> str:
    return f"{{task-id: a, cmd: {{bin: b}}, sandbox: {{name: isolate, limits: [{{hw-group-id: g, {limits}}}]}}}}"


WRONG = {
    "a text": "hello",
    "no submission": "tasks: []",
    "submission null": "submission: ~\ntasks: []",
    "no tasks": "submission: {job-id: 1, file-collector: f, hw-groups: []}",
    "tasks a map": MINIMAL % "{}",
    "no job id": "submission: {file-collector: f, hw-groups: []}\ntasks: []",
    "empty collector": "submission: {job-id: 1, file-collector: '', hw-groups: []}\ntasks: []",
    "no groups": "submission: {job-id: 1, file-collector: f}\ntasks: []",
    "groups a text": "submission: {job-id: 1, file-collector: f, hw-groups: g}\ntasks: []",
    "log is neither": "submission: {job-id: 1, file-collector: f, hw-groups: [], log: maybe}\ntasks: []",
    **{
        name: MINIMAL % f"[{task}]"
        for name, task in {
            "task a text": "a",
            "no id": "{cmd: {bin: b}}",
            "empty id": "{task-id: '', cmd: {bin: b}}",
            "no command": "{task-id: a}",
            "no binary": "{task-id: a, cmd: {args: []}}",
            "arguments a text": "{task-id: a, cmd: {bin: b, args: c}}",
            "argument a list": "{task-id: a, cmd: {bin: b, args: [[]]}}",
            "priority 0": "{task-id: a, cmd: {bin: b}, priority: 0}",
            "priority negative": "{task-id: a, cmd: {bin: b}, priority: -1}",
            "priority a word": "{task-id: a, cmd: {bin: b}, priority: high}",
            "fatal a number": "{task-id: a, cmd: {bin: b}, fatal-failure: 2}",
            "codes a word": "{task-id: a, cmd: {bin: b, success-exit-codes: all}}",
            "codes of three": "{task-id: a, cmd: {bin: b, success-exit-codes: [[1, 2, 3]]}}",
            "codes a map": "{task-id: a, cmd: {bin: b, success-exit-codes: {a: 1}}}",
            "sandbox without a name": "{task-id: a, cmd: {bin: b}, sandbox: {}}",
            "sandbox of another name": "{task-id: a, cmd: {bin: b}, sandbox: {name: none}}",
            "limits without a group": "{task-id: a, cmd: {bin: b}, sandbox: {name: isolate, limits: [{time: 1}]}}",
            "time negative": boxed("time: -1"),
            "time infinite": boxed("time: 1e999"),
            "time a word": boxed("time: .nan"),
            "bound to nothing": boxed("bound-directories: [{mode: rw}]"),
            "in memory and from somewhere": boxed("bound-directories: [{src: /a, dst: /b, mode: tmp}]"),
        }.items()
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes(name: str) -> None:
    with pytest.raises(WrongShape):
        read_config(WRONG[name].encode())


BOMB = (
    "a: &a ["
    + "x," * 50
    + "]\n"
    + "".join(
        f"{after}: &{after} [" + f"*{before}," * 50 + "]\n" for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a: [",
        b"a: b: c",
        b"\x00",
        b"\xff\xfe\xff",
        b"*a",
        b"a: *b",
        b"[" * 100000,
        b"{a: " * 60,
        b"{[a]: b}",
        b"%bad",
        b"x" * (5 << 20),
        b"- a\n" * 300000,
        BOMB.encode(),
        b"&a [*a]",
    ],
    ids=range(15),
)
def test_no_yaml(text: bytes) -> None:
    with pytest.raises(NotYaml):
        parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 60 + b"]" * 60, "nested"),
        (BOMB.encode(), "nodes"),
        (b"a: &a [" + b"x, " * 50_000 + b"x]\nb: [" + b"*a , " * 20 + b"*a ]\n", "nodes"),
        (b"&a [*a ]", "refers"),
    ],
    ids=["deep", "exponential", "repeated", "itself"],
)
def test_why_it_is_too_much(text: bytes, reason: str) -> None:
    with pytest.raises(NotYaml, match=reason):
        parse(text)


def test_aliases_and_repeated_keys() -> None:
    fields = Fields(parse(b"a: &x {b: 1}\nc: *x\na: 2\n--- second\n"), "it")
    first, second = fields.fields("a"), fields.fields("c")
    assert first is not None
    assert second is not None
    assert first.text("b") == second.text("b") == "1"


def test_only_plain_nulls_are_null() -> None:
    assert parse(b"[null, 'null', ~, '']") == [Scalar("null", True), Scalar("null"), Scalar("~", True), Scalar("")]


@given(st.one_of(st.binary(max_size=200), st.text("{}[]&*a:-, \n'\"!|>%~#", max_size=200).map(str.encode)))
def test_any_text_gives_a_configuration_or_a_refusal(text: bytes) -> None:
    try:
        read_config(text)
    except (NotYaml, WrongShape) as refusal:
        assert str(refusal)  # noqa: PT017


def task(name: str, priority: int = 1, *dependencies: str) -> Task:
    return Task(id=name, binary="b", priority=priority, dependencies=dependencies)


def names(*tasks: Task) -> list[str]:
    return [each.id for each in ordered(tasks)]


def test_the_order_that_the_real_worker_was_seen_to_use() -> None:
    assert names(task("low1"), task("hi1", 9, "low2"), task("mid", 5), task("low2"), task("hi2", 9)) == [
        "low2", "hi1", "hi2", "mid", "low1",
    ]  # fmt: skip


def test_dependencies_come_in_their_own_order() -> None:
    assert names(task("last", 9, "b", "a", "c", "a"), task("a"), task("b"), task("c", 5)) == ["c", "a", "b", "last"]
    assert names(task("x", 1, "y"), task("y", 1, "z"), task("z")) == ["z", "y", "x"]
    assert names() == []


@pytest.mark.parametrize(
    "tasks",
    [
        [task("a", 1, "a")],
        [task("a", 1, "b"), task("b", 1, "a")],
        [task("start"), task("a", 1, "c"), task("b", 1, "a"), task("c", 1, "b", "start")],
        [task("a", 1, "nothing")],
    ],
)
def test_what_cannot_be_ordered_is_refused(tasks: list[Task]) -> None:
    with pytest.raises(EvaluationFailed):
        ordered(tasks)


def test_long_chains() -> None:
    chain = [task(str(index), 1, str(index + 1)) for index in range(5000)] + [task("5000")]
    assert names(*chain) == [str(index) for index in range(5000, -1, -1)]


@given(st.lists(st.tuples(st.integers(1, 4), st.sets(st.integers(0, 7), max_size=3)), max_size=8))
def test_the_order_holds_for_all(shapes: list[tuple[int, set[int]]]) -> None:
    tasks = [
        task(str(index), priority, *(str(each) for each in before if each < len(shapes)))
        for index, (priority, before) in enumerate(shapes)
    ]
    try:
        found = ordered(tasks)
    except EvaluationFailed:
        return
    places = {each.id: index for index, each in enumerate(found)}
    assert sorted(places) == sorted(each.id for each in tasks)
    assert all(places[before] < places[each.id] for each in tasks for before in each.dependencies)
    if not any(each.dependencies for each in tasks):
        assert [each.priority for each in found] == sorted((each.priority for each in tasks), reverse=True)


VALUES = {"A": "1", "B": "${A}", "LONG_NAME": "x y"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain $A {A} $", "plain $A {A} $"),
        ("${A}", "1"),
        ("<${A}${LONG_NAME}>", "<1x y>"),
        ("${B}", "${A}"),
        ("${UNKNOWN}${A}", "${UNKNOWN}1"),
        ("${}", "${}"),
        ("$${A}}", "$1}"),
    ],
)
def test_variables(text: str, expanded: str) -> None:
    assert expand(text, VALUES) == expanded


def test_an_unclosed_variable_is_an_error() -> None:
    with pytest.raises(EvaluationFailed, match="not closed"):
        expand("a ${A", VALUES)


def test_where_variables_are_replaced() -> None:
    limits = HardwareLimits(group="${A}", environment={"X": "${A}"}, bound=(BoundDirectory("/${A}", "/b${A}"),))
    every = dict.fromkeys(("stdin", "stdout", "stderr", "copy_stdout", "copy_stderr", "chdir", "working_directory"), "${A}")
    before = Task(id="${A}", binary="${A}", arguments=("${A}", "b"), box=Box(**every, limits=(limits,)))
    after = expand_task(before, VALUES)
    assert (after.id, after.binary, after.arguments) == ("${A}", "1", ("1", "b"))
    assert after.box is not None
    replaced = {name: getattr(after.box, name) for name in every}
    assert replaced == dict.fromkeys(every, "1") | {"working_directory": "${A}"}
    assert after.box.limits[0].environment == {"X": "${A}"}
    assert after.box.limits[0].bound == (BoundDirectory("/1", "/b1"),)
