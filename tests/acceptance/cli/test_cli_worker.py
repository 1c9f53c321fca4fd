"""A worker elsewhere, linked over HTTP."""

import json
import signal
from pathlib import Path

import pytest


def idle(server, run) -> None:
    """Drain the worker inside the server, so that only others work."""
    (own,) = [json.loads(line)["id"] for line in run("workers", "--json", server=server).stdout.splitlines()]
    assert run("drain", own, server=server).returncode == 0


def test_a_worker_elsewhere_runs_jobs(serve, start, run, app_file, wait_for):
    server = serve()
    idle(server, run)
    worker = start("worker", app_file, "--connect", server.url, "--slots", "1", "--hwgroup", "gpu", "--header", "x=1")
    worker.heard("crossdock worker for add, echo")
    wait_for(lambda: "gpu" in run("workers", server=server).stdout, "the worker to attach")
    assert run("submit", "add", "--params", '{"a": 1}', "--wait", server=server).stdout == "2\n"
    big = json.dumps(["x" * 100] * 2000)
    echoed = run("submit", "echo", "--params", "-", "--wait", server=server, stdin=big)
    assert json.loads(echoed.stdout) == json.loads(big), "large documents travel as artifacts"


def test_it_finishes_what_it_runs_and_leaves(serve, start, run, app_file, tmp_path, wait_for):
    server = serve()
    idle(server, run)
    gate = tmp_path / "g"
    worker = start("worker", app_file, "--connect", server.url)
    job = run("submit", "gate", "--params", json.dumps({"path": str(gate)}), server=server).stdout.strip()
    wait_for(Path(f"{gate}.runs").exists, "the job to run")
    worker.signal(signal.SIGTERM)
    worker.heard("finishing what runs")
    gate.touch()
    assert worker.ended() == 0
    assert run("jobs", "watch", job, server=server).stdout == '"open"\n'


def test_a_killed_worker_costs_an_attempt(serve, start, run, tmp_path, wait_for):
    (tmp_path / "short.py").write_text(
        "import time\nfrom pathlib import Path\nfrom crossdock import App, Context\napp = App()\n"
        '@app.function("once", lease=2, backoff=0.1)\n'
        "def once(ctx: Context, path: str) -> int:\n"
        "    Path(path).touch()\n"
        "    while ctx.attempt == 1:\n        time.sleep(0.05)\n"
        "    return ctx.attempt\n"
    )
    server = serve(app="short.py:app")
    idle(server, run)
    first = start("worker", "short.py:app", "--connect", server.url)
    job = run("submit", "once", "--params", json.dumps({"path": str(tmp_path / "ran")}), server=server).stdout.strip()
    wait_for((tmp_path / "ran").exists, "the job to run")
    first.signal(signal.SIGKILL)
    start("worker", "short.py:app", "--connect", server.url)
    assert run("jobs", "watch", job, server=server).stdout == "2\n"


def test_it_waits_for_a_server_that_is_away(serve, start, run, app_file, tmp_path):
    first = serve()
    first.signal(signal.SIGTERM)
    assert first.ended() == 0
    port = first.url.rpartition(":")[2]
    worker = start("worker", app_file, "--connect", first.url)
    worker.heard("trying again until it can be")
    again = start("serve", "--data", "data", "--listen", f"127.0.0.1:{port}", app_file)
    again.url = again.heard(r"listening on (\S+)")[1]
    idle_workers = [line for line in run("workers", "--json", server=again).stdout.splitlines() if "local/" in line]
    run("drain", json.loads(idle_workers[0])["id"], server=again)
    assert run("submit", "add", "--params", '{"a": 1}', "--wait", server=again).stdout == "2\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("recodex+tcp://h:1?hwgruop=x", "do you mean 'hwgroup'"),
        ("jsonbus+amqp://h/v?nod=n", "do you mean 'node'"),
        ("cluster+sqs://p", "cluster+sqs:// comes with the cluster release"),
        ("ftp://h", "recodex+tcp://HOST:PORT or jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME"),
    ],
)
def test_links_of_later_releases_are_usage_errors(run, url, says):
    done = run("worker", "app.py:app", "--connect", url)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_with_keys_refuses_a_worker_without(serve, run, tmp_path, app_file):
    made = run("key", "alice")
    (tmp_path / "crossdock.toml").write_text(made.stdout)
    server = serve()
    done = run("worker", app_file, "--connect", server.url)
    assert done.returncode == 1
    assert "an API key is needed" in done.stderr
