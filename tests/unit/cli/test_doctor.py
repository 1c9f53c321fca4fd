"""``crossdock doctor``: every finding, with the thing itself broken."""

import json
import socket
import sqlite3
import sys

import pytest
from typer.testing import CliRunner

from crossdock.cli.main import cli
from crossdock.stores.sqlite.lock import FileLock


@pytest.fixture
def examine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def examine(*arguments, code=0):
        done = CliRunner().invoke(cli, ["doctor", "--listen", "127.0.0.1:0", *arguments, "--json"])
        assert done.exit_code == code, done.output
        return {finding["check"]: finding for finding in map(json.loads, done.stdout.splitlines())}

    return examine


def test_all_is_well(examine, tmp_path):
    found = examine("--data", "d")
    assert list(found) == ["python", "sqlite", "data directory", "free space", "fsync", "store", "port", "access"]
    assert {found[name]["health"] for name in ("python", "sqlite", "data directory", "store", "port")} == {"ok"}
    assert "ms (median of 20)" in found["fsync"]["text"]
    assert found["access"]["text"] == "no API keys: only programs on this machine can reach it"


def test_people_get_a_line_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["doctor", "--data", "d", "--listen", "127.0.0.1:0"])
    assert done.stdout.splitlines()[0].startswith("ok      python           3.")


def test_a_directory_that_cannot_be_written(examine, tmp_path):
    (tmp_path / "file").touch()
    found = examine("--data", "file", code=1)
    assert found["data directory"]["health"] == "failed"
    assert "cannot be written" in found["data directory"]["text"]


def test_a_taken_port(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(cli, ["doctor", "--data", "d", "--listen", listen])
    assert done.exit_code == 1
    assert f"FAILED  port             {listen}: Address already in use" in done.stdout


def test_a_store_in_use_is_left_alone(examine, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "crossdock.db").touch()
    lock = FileLock(tmp_path / "d" / "crossdock.db.lock")
    lock.acquire()
    found = examine("--data", "d")
    lock.release()
    assert found["store"]["health"] == "warning"
    assert "is in use by process" in found["store"]["text"]


def test_a_whole_and_a_damaged_store(examine, tmp_path):
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "crossdock.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    database.close()
    assert examine("--data", "d")["store"]["text"] == "d/crossdock.db is whole"
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)
    found = examine("--data", "d", code=1)["store"]
    assert found["health"] == "failed"
    assert "d/crossdock.db" in found["text"]


def test_an_open_address_without_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["doctor", "--data", "d", "--listen", "0.0.0.0:0"])
    assert done.exit_code == 1
    assert "FAILED  access" in done.stdout


def test_an_app(examine, tmp_path):
    (tmp_path / "good_app.py").write_text("from crossdock import App\napp = App()\n@app.function('f')\ndef f(): ...\n")
    (tmp_path / "empty_app.py").write_text("from crossdock import App\napp = App()\n")
    (tmp_path / "bad_app.py").write_text("1 / 0\n")
    assert examine("good_app.py:app")["app"] == {"check": "app", "health": "ok", "text": "good_app.py:app: f"}
    assert examine("empty_app.py:app")["app"]["health"] == "warning"
    assert "ZeroDivisionError" in examine("bad_app.py:app", code=1)["app"]["text"]


def test_an_old_python(examine, monkeypatch):
    monkeypatch.setattr("crossdock.app.diagnosis._OLDEST_PYTHON", (sys.version_info[0], sys.version_info[1] + 1))
    assert examine(code=1)["python"]["health"] == "failed"


@pytest.mark.parametrize(("free", "health", "code"), [(10**6, "failed", 1), (5 * 10**8, "warning", 0), (10**11, "ok", 0)])
def test_free_space(examine, monkeypatch, free, health, code):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert examine(code=code)["free space"]["health"] == health
