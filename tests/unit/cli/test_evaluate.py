"""`crossdock evaluate` without a server, and how its results look."""

import pytest
from typer.testing import CliRunner

from crossdock.cli import evaluate_views
from crossdock.cli.evaluate_views import print_verdict, printable, show_progress
from crossdock.cli.failures import ExitCode
from crossdock.cli.main import cli
from crossdock.core.requests import Step
from crossdock.protocols.recodex.client.verdict import JudgedTest, Verdict

CONFIG = "submission: {job-id: j, hw-groups: [g]}\ntasks: []\n"
INSTALLATION = "recodex+tcp://127.0.0.1:9?files=http://127.0.0.1:9"


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSDOCK_SERVER", raising=False)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job-config.yml").write_text(CONFIG)
    (tmp_path / "empty").mkdir()
    return lambda *arguments: CliRunner().invoke(cli, ["evaluate", *arguments])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["empty"], "empty has no job-config.yml, which says what is to be done"),
        (["nowhere"], "nowhere: No such file or directory"),
        (["job", "--header", "x"], "--header 'x': expected NAME=VALUE"),
        (["job", "--job-id", "a"], "is for servers whose address begins with recodex+tcp://"),
        (["job", "--server", "recodex+tcp://h"], "needs a URL of http or https"),
        (["job", "--server", INSTALLATION, "--job-id", "a/b"], "'a/b' is no id for a job"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(invoke, arguments, says):
    done = invoke(*arguments)
    assert done.exit_code == ExitCode.USAGE
    assert done.stderr.startswith("crossdock: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("server", ["http://127.0.0.1:9", INSTALLATION])
def test_nobody_there_is_exit_code_3(invoke, server):
    done = invoke("job", "--server", server)
    assert done.exit_code == ExitCode.UNREACHABLE
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr


def test_help_names_both_kinds_of_servers(invoke):
    shown = " ".join(invoke("--help").output.split())
    assert "recodex+tcp://HOST:PORT?files=http://HOST:PORT&monitor=ws://HOST:PORT" in shown
    assert "CROSSDOCK_FILES_PASSWORD" in shown


def judged(**changes) -> JudgedTest:
    values = {"test": "a", "status": "passed", "passed": True, "score": 1.0, "time": 0.0125, "memory": 3000}
    return JudgedTest(**{**values, **changes})


def shown(capsys, *tests, **changes) -> str:
    values = {"passed": False, "compiled": True, "score": 0.5, "tests": tests}
    print_verdict(Verdict(**{**values, **changes}))
    return capsys.readouterr().out


def test_the_table_has_what_was_asked_for(capsys):
    tests = [
        judged(),
        judged(test="b", status="wrong", passed=False, score=0.0, log="line 1 differs"),
        judged(test="c", status="skipped", passed=False, score=0.0, time=None, memory=None),
    ]
    assert [line.split() for line in shown(capsys, *tests).splitlines()] == [
        ["TEST", "STATUS", "TIME", "MEMORY", "SCORE"],
        ["a", "passed", "0.013", "s", "2.9", "MiB", "1.00"],
        ["b", "wrong", "0.013", "s", "2.9", "MiB", "0.00"],
        ["c", "skipped", "0.00"],
        [],
        ["b:"],
        ["line", "1", "differs"],
        [],
        ["score", "0.50:", "1", "of", "3", "tests", "passed"],
    ]


def test_what_the_status_says_is_not_said_again(capsys):
    lines = shown(
        capsys,
        judged(status="time limit", passed=False, message="Time limit exceeded"),
        judged(test="b", status="sandbox error", passed=False, message="it has no box"),
    )
    assert "exceeded" not in lines
    assert "it has no box" in lines


def test_the_compiler_is_heard(capsys):
    lines = shown(
        capsys, judged(status="skipped", passed=False, score=0.0), compiled=False, compiler="no [bold]such[/] type"
    )
    assert lines.splitlines()[:2] == ["it does not compile:", "  no [bold]such[/] type"]
    assert "TEST" not in lines


def test_what_a_program_says_cannot_steer_the_terminal(capsys):
    lines = shown(capsys, judged(test="\x1b]0;x\x07", status="wrong", passed=False, log="\x1b[2Jgone\r\x9b1m"))
    assert "\x1b" not in lines
    assert "\\x1b[2Jgone\\r\\x9b1m" in lines
    assert printable("é\n\t\u202e") == "é\n\t\\u202e"


def test_what_is_long_is_cut(capsys, monkeypatch):
    monkeypatch.setattr(evaluate_views, "_MOST_LINES", 2)
    lines = shown(capsys, compiled=False, compiler="1\n2\n3\n4")
    assert lines.splitlines()[1:] == ["  1", "  2", "  … 2 more lines"]


@pytest.mark.parametrize(
    ("phases", "failed"),
    [
        (["DOWNLOADED", "STARTED", "FINISHED"], False),
        (["DOWNLOADED", "FAILED", "FINISHED"], True),
        (["DOWNLOADED", "ABORTED", "FAILED"], True),
        (["DOWNLOADED", "FAILED", "ABORTED", "DOWNLOADED", "FINISHED"], False),
        ([], False),
    ],
)
def test_steps_say_whether_a_job_failed(phases, failed):
    assert show_progress("j", [Step(phase) for phase in phases], 0) is failed
