"""Commands that need no server, and what all commands have in common."""

import json
import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.main import cli
from crossdock.core.errors import Code, CrossdockError


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSDOCK_SERVER", raising=False)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def test_the_version(invoke):
    done = invoke("--version")
    assert done.exit_code == 0
    assert done.output.startswith("crossdock 0.")


@pytest.mark.parametrize("arguments", [["--nope"], ["nope"], ["submit"], ["jobs", "list", "--limit", "0"]])
def test_wrong_usage_is_exit_code_2(invoke, arguments):
    assert invoke(*arguments).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit", "k", "--array", "0:1", "--table", "t.csv"], "--array and --table exclude one another"),
        (["jobs", "cancel"], "which jobs? Name ids, or --batch ID"),
        (["jobs", "retry"], "which jobs? Name ids, or --all-dead"),
        (["jobs", "retry", "x", "--all-dead"], "which jobs? Name ids, or --all-dead"),
        (["key", "a", "--scope", "root"], "unknown scope 'root'; there are submit, read-own, read-all, work, admin"),
        (["serve", "--set", "worker.slotz=1"], "--set: worker.slotz: unknown key, did you mean worker.slots?"),
        (["worker", "a:b", "--connect", "http://h:1", "--header", "x"], "--header 'x': expected NAME=VALUE"),
        (["worker", "a:b", "--connect", "cluster+sqs://p"], "comes with the cluster release"),
        (["worker", "a:b", "--connect", "jsonbus://me:pw@h"], "--connect jsonbus: expected http://HOST:PORT, recodex"),
        (["worker", "a:b", "--connect", "jsonbus+amqp://h/v?nod=n"], "'nod' is not known; do you mean 'node'?"),
        (["submit", "k", "--server", "jsonbus+amqp://h/v"], "add --wait to wait for it"),
        (["submit", "k", "--server", "jsonbus+amqp://h/v", "--wait", "--key", "a"], "json-bus has nothing like --key"),
        (["submit", "k", "--server", "jsonbus+amqp://h/v", "--wait", "--params", "[1]"], "has to be a JSON object"),
        (["submit", "k", "--server", "jsonbus+amqp://h/v?q=1", "--wait"], "'q' is not known; there are ca, node"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line_and_exit_code_2(invoke, arguments, says):
    done = invoke(*arguments)
    assert done.exit_code == ExitCode.USAGE
    assert done.stderr.startswith("crossdock: ")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("a", ExitCode.UNREACHABLE), 3, "crossdock: a"),
        (CrossdockError(Code.CONFLICT, "b"), 1, "crossdock: b"),
        (KeyboardInterrupt(), 130, "crossdock: interrupted"),
    ],
)
def test_expected_errors_are_a_line_and_a_code(invoke, monkeypatch, error, code, line):
    def fail(*_):
        raise error

    monkeypatch.setattr("crossdock.http.auth.new_key", fail)
    done = invoke("key", "a")
    assert (done.exit_code, done.stderr.strip()) == (code, line)


def test_other_errors_keep_their_traceback(invoke, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("crossdock.http.auth.new_key", fail)
    assert isinstance(invoke("key", "a").exception, ZeroDivisionError)


def test_a_key_is_printed_as_configuration_and_only_its_digest_goes_there(invoke):
    done = invoke("key", "alice", "--scope", "work", "--tenant", "lab")
    (entry,) = tomllib.loads(done.stdout)["security"]["keys"]
    secret = done.stderr.split("CROSSDOCK_API_KEY=")[1].strip()
    assert (entry["name"], entry["scopes"], entry["tenant"]) == ("alice", ["work"], "lab")
    assert len(entry["sha256"]) == 64
    assert secret not in done.stdout


def test_a_key_as_an_object(invoke):
    shown = json.loads(invoke("key", "alice", "--json").stdout)
    assert shown.keys() == {"name", "tenant", "scopes", "key", "sha256"}


def test_bench_measures(invoke):
    measured = json.loads(invoke("bench", "--jobs", "50", "--in-flight", "10", "--json").stdout)
    assert measured["jobs"] == 50
    assert measured["jobs_per_second"] > 0


HEAVY = {"asyncio", "fastapi", "httpx", "msgspec", "pydantic", "sqlite3", "starlette", "structlog", "uvicorn"}


def test_help_loads_nothing_heavy():
    """What makes the command line quick to start is what it does not import."""
    code = "import sys; import crossdock.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
