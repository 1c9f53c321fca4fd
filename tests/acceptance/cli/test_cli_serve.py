"""The server as a process: how it starts, stops, is killed and comes back."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest


def attempts(gate: Path) -> list[int]:
    """Return the attempts that have begun at a gate."""
    log = Path(f"{gate}.runs")
    return [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture(params=["gate", "slow_async"])
def at_the_gate(request, run, tmp_path, wait_for):
    """Submit a job that runs until a file is there; return the file and the job's id. In a child, and in the loop."""

    def submit(server):
        gate = tmp_path / "open"
        done = run("submit", request.param, "--params", json.dumps({"path": str(gate)}), server=server)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: attempts(gate), "the job to run")
        return gate, done.stdout.strip()

    return submit


def test_it_says_where_it_listens_and_who_can_reach_it(serve):
    server = serve()
    assert server.said[0] == f"crossdock listening on {server.url} (data in data)"
    server.heard("only programs on this machine")
    assert server.said[1:3] == [
        "kinds: add, echo, fail, gate, slow_async",
        "no API keys: only programs on this machine can reach it",
    ]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_without_an_app_it_serves_and_gives_a_hint(serve, run):
    server = serve(app=None)
    server.heard("crossdock serve file.py:app")
    assert run("jobs", "list", "--json", server=server).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_running_jobs_finish(serve, run, at_the_gate, number):
    server = serve()
    gate, job = at_the_gate(server)
    # To the whole group, as a terminal does: the children have to survive Ctrl-C.
    os.killpg(server.popen.pid, number)
    server.heard("finishing what runs")
    assert httpx.get(f"{server.url}/healthz").status_code == 200, "HTTP answers until the end"
    gate.touch()
    assert server.ended() == 0
    again = serve()
    assert run("jobs", "watch", job, server=again).stdout == '"open"\n'
    assert attempts(gate) == [1]


def test_jobs_that_are_queued_while_it_drains_run_after_the_next_start(serve, run, at_the_gate):
    server = serve()
    gate, _ = at_the_gate(server)
    server.signal(signal.SIGTERM)
    server.heard("finishing what runs")
    later = run("submit", "add", "--params", '{"a": 1}', server=server).stdout.strip()
    gate.touch()
    assert server.ended() == 0
    assert run("jobs", "watch", later, server=serve()).stdout == "2\n"


def test_the_second_signal_hands_running_jobs_back(serve, run, at_the_gate, wait_for):
    server = serve()
    gate, job = at_the_gate(server)
    server.signal(signal.SIGTERM)
    server.heard("finishing what runs")
    server.signal(signal.SIGTERM)
    server.heard("handing back")
    assert server.ended() == 0
    again = serve()
    wait_for(lambda: len(attempts(gate)) == 2, "the job to run again at once")
    assert attempts(gate) == [1, 1], "what was handed back does not count as an attempt"
    gate.touch()
    assert run("jobs", "watch", job, server=again).stdout == '"open"\n'


def test_kill_9_and_a_restart_finish_the_job(serve, run, at_the_gate, wait_for):
    server = serve()
    gate, job = at_the_gate(server)
    done = run("submit", "add", "--params", '{"a": 1}', "--wait", server=server)
    server.signal(signal.SIGKILL)
    assert server.ended() == -signal.SIGKILL
    again = serve()
    wait_for(lambda: len(attempts(gate)) == 2, "the job to run again")
    gate.touch()
    assert run("jobs", "watch", job, server=again).stdout == '"open"\n'
    states = [
        json.loads(line)["crossdock"]["state"] for line in run("jobs", "list", "--json", server=again).stdout.splitlines()
    ]
    assert (done.stdout, states) == ("2\n", ["succeeded", "succeeded"])


def test_the_children_of_a_killed_server_end_too(serve, at_the_gate, wait_for):
    server = serve()
    at_the_gate(server)
    server.signal(signal.SIGKILL)
    server.ended()

    def nobody_left() -> bool:
        try:
            os.killpg(server.popen.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(nobody_left, "the children to end")


def fails(start, *arguments: str, code: int, says: str, **options) -> None:
    """Start a server that cannot start; look at the one line it says."""
    process = start("serve", *arguments, **options)
    assert process.ended() == code
    lines = [line for line in process.said if line]
    assert len(lines) == 1, lines
    assert says in lines[0]


def test_a_second_server_on_the_same_data_is_told_who_has_it(serve, start, app_file):
    server = serve()
    says = f"is in use by process {server.popen.pid}"
    fails(start, app_file, "--data", "data", "--listen", "127.0.0.1:0", code=1, says=says)


def test_a_taken_port_is_one_clear_line(start, app_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        fails(start, app_file, "--data", "other", "--listen", listen, code=1, says=f"cannot listen on {listen}")


def test_bad_configuration_is_one_clear_line(start, app_file, tmp_path):
    (tmp_path / "crossdock.toml").write_text("[http]\nlistn = 'x'\n")
    fails(start, app_file, code=2, says="crossdock.toml:2: http.listn: unknown key, did you mean http.listen?")


def test_an_app_that_is_not_there_is_one_clear_line(start):
    fails(start, "nowhere.py:app", code=2, says="there is no file")


def test_an_app_that_cannot_be_imported_says_where(start, tmp_path):
    (tmp_path / "broken.py").write_text("import crossdock\n\nboom\n")
    fails(start, "broken.py:app", code=2, says="NameError: name 'boom' is not defined")


def test_an_open_address_needs_keys(start, app_file):
    fails(start, app_file, "--listen", "0.0.0.0:0", code=2, says="refusing to listen on 0.0.0.0 without API keys")


def test_data_that_cannot_be_written_is_one_clear_line(start, app_file, tmp_path):
    (tmp_path / "file").touch()
    fails(start, app_file, "--data", "file/data", "--listen", "127.0.0.1:0", code=1, says="cannot make the directory")


def test_keys_from_the_key_command_open_the_door(serve, run, tmp_path):
    made = run("key", "alice", "--scope", "submit", "--scope", "read-own")
    (tmp_path / "crossdock.toml").write_text(made.stdout)
    secret = made.stderr.split("CROSSDOCK_API_KEY=")[1].strip()
    server = serve()
    refused = run("submit", "add", "--params", '{"a": 1}', "--wait", server=server)
    assert refused.returncode == 2
    assert "CROSSDOCK_API_KEY" in refused.stderr
    environ = {"CROSSDOCK_API_KEY": secret}
    done = run("submit", "add", "--params", '{"a": 1}', "--wait", server=server, environ=environ)
    assert done.stdout == "2\n"
    (job,) = [json.loads(line) for line in run("jobs", "list", "--json", server=server, environ=environ).stdout.splitlines()]
    assert job["crossdock"]["tenant"] == "alice"


def test_jobs_in_memory_need_no_directory_for_them(serve, run, tmp_path):
    server = serve("--set", "store.url=memory:")
    assert run("submit", "add", "--params", '{"a": 1}', "--wait", server=server).stdout == "2\n"
    assert not list((tmp_path / "data").glob("*.db"))


def test_a_longpost_endpoint_is_a_worker(serve, run, tmp_path):
    remote = serve()
    settings = (f"backends.longpost.add.url={remote.url}/longpost/add", "backends.longpost.add.poll_first=0.05")
    server = serve("--data", "front", *(part for each in settings for part in ("--set", each)), app=None)
    done = run("submit", "add", "--params", '{"a": 41}', "--wait", server=server)
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr


def test_public_longpost_opens_nothing_else(serve):
    server = serve("--listen", "0.0.0.0:0", "--set", "longpost.public=true")
    token = httpx.post(f"{server.url}/longpost/add", json={"action": "start", "payload": {"a": 1}})
    assert token.status_code == 200
    for path in ("/jobs", "/workers", "/processes/add/execution"):
        answer = httpx.post(f"{server.url}{path}", json={}) if "execution" in path else httpx.get(f"{server.url}{path}")
        assert answer.status_code == 401, path


def test_a_server_with_backends_only_stops_soon(serve):
    server = serve("--set", "backends.longpost.far.url=http://127.0.0.1:9/far", app=None)
    server.heard("kinds: far")
    started = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.ended() == 0
    assert time.monotonic() - started < 8
