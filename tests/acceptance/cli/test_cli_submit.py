"""Handing in jobs and looking at them, against a real server."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def server(serve):
    return serve()


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_submit_and_wait_prints_the_result(server, run):
    done = run("submit", "add", "--params", '{"a": 3}', "--wait", server=server)
    assert (done.returncode, done.stdout) == (0, "4\n")
    assert done.stderr == ""


def test_submit_without_waiting_prints_the_id(server, run):
    done = run("submit", "add", "--params", '{"a": 3}', server=server)
    assert done.returncode == 0
    shown = run("jobs", "watch", done.stdout.strip(), server=server)
    assert (shown.returncode, shown.stdout) == (0, "4\n")


def test_raw_kinds_take_any_value_also_from_standard_input(server, run):
    done = run("submit", "echo", "--params", "-", "--wait", server=server, stdin='[1, {"b": null}, "é"]')
    assert json.loads(done.stdout) == [1, {"b": None}, "é"]


def test_json_is_one_object_with_the_result(server, run):
    (job,) = objects(run("submit", "add", "--params", '{"a": 1}', "--wait", "--json", server=server).stdout)
    assert (job["status"], job["result"], job["crossdock"]["state"]) == ("successful", 2, "succeeded")


def test_a_failed_job_is_exit_code_1_and_a_line_with_its_code(server, run):
    done = run("submit", "fail", "--params", '{"code": "odd"}', "--wait", server=server)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.rstrip().endswith("failed: odd: it cannot be done")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit", "nope"], "there is no process 'nope'"),
        (["submit", "add", "--params", '{"x": 1}'], "a is missing"),
        (["jobs", "show", "0000000000000"], "there is no job '0000000000000'"),
        (["jobs", "cancel", "garbage"], "there is no job 'garbage'"),
        (["drain", "nobody"], "nobody"),
    ],
)
def test_what_the_server_refuses_is_one_line_and_exit_code_2(server, run, arguments, says):
    done = run(*arguments, server=server)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_does_not_answer_is_exit_code_3(run):
    done = run("workers", "--server", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stderr.startswith("crossdock: http://127.0.0.1:9 cannot be reached")
    assert len(done.stderr.splitlines()) == 1


def test_an_array_of_numbers_is_one_job(server, run):
    done = run("submit", "add", "--array", "0:10:3", "--as", "a", "--wait", server=server)
    assert json.loads(done.stdout) == [1, 4, 7, 10]
    (job,) = objects(run("jobs", "list", "--json", server=server).stdout)
    assert job["crossdock"]["members"] == {"total": 4, "succeeded": 4, "failed": 0, "cancelled": 0}


def test_a_table_is_one_job(server, run, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    done = run("submit", "add", "--table", "t.csv", "--wait", server=server)
    assert json.loads(done.stdout) == [3, 7]


def test_the_key_makes_a_submit_idempotent(server, run):
    first, second = (run("submit", "add", "--params", '{"a": 1}', "--key", "k", server=server) for _ in range(2))
    assert first.stdout == second.stdout != ""


def test_after_and_delay_make_a_job_wait(server, run, tmp_path, wait_for):
    gate = run("submit", "gate", "--params", json.dumps({"path": str(tmp_path / "g")}), server=server).stdout.strip()
    later = run("submit", "add", "--params", '{"a": 1}', "--after", gate, server=server).stdout.strip()
    delayed = run("submit", "add", "--params", '{"a": 1}', "--delay", "3600", server=server).stdout.strip()
    for job in (later, delayed):
        (shown,) = objects(run("jobs", "show", job, "--json", server=server).stdout)
        assert shown["crossdock"]["state"] == "waiting"
        assert shown["crossdock"]["why"]
    (tmp_path / "g").touch()
    assert run("jobs", "watch", later, server=server).stdout == "2\n"


def test_the_table_of_jobs_can_be_filtered(server, run):
    ended = run("submit", "fail", "--wait", server=server)
    run("submit", "add", "--params", '{"a": 1}', "--wait", server=server)
    identifier = ended.stderr.split()[1]
    for arguments in (["dead"], ["list", "--state", "failed"], ["list", "--kind", "fail"], ["list", "--code", "wrong"]):
        lines = run("jobs", *arguments, server=server).stdout.splitlines()
        assert len(lines) == 2, arguments
        assert lines[1].startswith(f"{identifier}  fail  failed")


def test_show_tells_what_there_is(server, run):
    identifier = run("submit", "fail", "--wait", server=server).stderr.split()[1]
    shown = run("jobs", "show", identifier, server=server).stdout
    assert "kind      fail" in shown
    assert "code      wrong" in shown


def test_the_log_of_a_job_as_objects(server, run):
    job = run("submit", "add", "--params", '{"a": 1}', server=server).stdout.strip()
    entries = objects(run("jobs", "watch", job, "--json", server=server).stdout)
    assert [entry["event"] for entry in entries] == ["submitted", "leased", "succeeded"]


def test_cancel_ends_a_running_job(server, run, tmp_path, wait_for):
    gate = str(tmp_path / "g")
    job = run("submit", "gate", "--params", json.dumps({"path": gate}), server=server).stdout.strip()
    wait_for(lambda: Path(f"{gate}.runs").exists(), "the job to run")
    assert run("jobs", "cancel", "--hard", job, server=server).returncode == 0
    watched = run("jobs", "watch", job, server=server)
    assert watched.returncode == 1
    assert f"{job} cancelled" in watched.stderr


def test_retry_runs_a_dead_job_again(server, run):
    job = run("submit", "fail", "--wait", server=server).stderr.split()[1]
    again = run("jobs", "retry", job, "--json", server=server)
    (new,) = objects(again.stdout)
    assert new["crossdock"]["retryOf"] == job


def test_all_dead_jobs_run_again_once_after_a_preview(server, run):
    for code in ("a", "a", "b"):
        run("submit", "fail", "--params", json.dumps({"code": code}), "--wait", server=server)
    asked = run("jobs", "retry", "--all-dead", server=server)
    assert asked.returncode == 2
    assert "2 fail: a" in asked.stderr
    assert asked.stderr.splitlines()[-1] == "crossdock: 3 jobs would run again; add --yes to do it"
    done = run("jobs", "retry", "--all-dead", "--code", "a", "--yes", server=server)
    assert len(done.stdout.splitlines()) == 2
    for line in done.stdout.splitlines():
        run("jobs", "watch", line.split()[-1], server=server)
    left = run("jobs", "retry", "--all-dead", "--code", "b", "--yes", "--json", server=server)
    assert len(left.stdout.splitlines()) == 1


def test_a_job_that_cannot_run_again_does_not_stop_the_others(server, run):
    parent = run("submit", "add", "--params", '{"a": 1}', "--delay", "100", server=server).stdout.strip()
    child = run("submit", "add", "--params", '{"a": 1}', "--after", parent, server=server).stdout.strip()
    run("jobs", "cancel", parent, server=server)
    assert run("jobs", "watch", child, server=server).returncode == 1
    done = run("jobs", "retry", child, parent, server=server)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{parent} runs again as ")
    assert done.stderr.splitlines()[0].startswith(f"{child}: the job {parent} that this one should come after is cancelled")
    assert done.stderr.splitlines()[-1] == "crossdock: 1 of 2 jobs could not be run again"


def test_the_workers_are_listed_and_drained(server, run, wait_for):
    (worker,) = objects(run("workers", "--json", server=server).stdout)
    assert worker["kinds"] == ["add", "echo", "fail", "gate", "slow_async"]
    assert run("drain", worker["id"], server=server).stdout == f"{worker['id']} gets no more jobs\n"
    assert objects(run("workers", "--json", server=server).stdout)[0]["draining"]
    assert "draining" in run("workers", server=server).stdout


def press_ctrl_c(arguments: list[str], started, answer: bytes) -> tuple[int, str]:
    """Run a command on a terminal, press Ctrl-C once it has ``started``, answer its question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(arguments[0], arguments)
    said = b""
    try:
        started()
        os.write(terminal, b"\x03")
        while True:
            try:
                said += os.read(terminal, 4096)
            except OSError:  # the terminal ends with the command
                break
            if b"[y/N]" in said and answer:
                os.write(terminal, answer)
                answer = b""
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode()


@pytest.mark.parametrize(
    ("answer", "says", "states"), [(b"y\n", "cancelled", {"cancelled", "leased"}), (b"n\n", "goes on", {"leased"})]
)
def test_ctrl_c_asks_whether_to_cancel(server, run, command, tmp_path, wait_for, answer, says, states):
    gate = str(tmp_path / "g")
    arguments = [str(command), "submit", "gate", "--params", json.dumps({"path": gate}), "--wait", "--server", server.url]
    code, said = press_ctrl_c(arguments, lambda: wait_for(lambda: Path(f"{gate}.runs").exists(), "the job to run"), answer)
    assert code == 130
    assert says in said or "asked to stop" in said
    (job,) = objects(run("jobs", "list", "--json", server=server).stdout)
    assert job["crossdock"]["state"] in states
    assert job["crossdock"].get("cancelRequested", job["crossdock"]["state"] == "cancelled") is (answer == b"y\n")


def test_ctrl_c_without_a_terminal_leaves_the_job_alone(server, start, tmp_path, wait_for, run):
    gate = str(tmp_path / "g")
    waiting = start(
        "submit", "gate", "--params", json.dumps({"path": gate}), "--wait", "--server", server.url, stdin=subprocess.DEVNULL
    )
    wait_for(lambda: Path(f"{gate}.runs").exists(), "the job to run")
    waiting.signal(signal.SIGINT)
    assert waiting.ended() == 130
    assert "the job goes on" in waiting.said[0]
    (tmp_path / "g").touch()
    (job,) = objects(run("jobs", "list", "--json", server=server).stdout)
    assert run("jobs", "watch", job["jobID"], server=server).stdout == '"open"\n'
