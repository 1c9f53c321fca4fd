"""The composition root, in this process."""

import re
import threading

import httpx
import pytest

from crossdock.app import places, run_server
from crossdock.app.hands import kinds_of
from crossdock.app.server import BROKEN
from crossdock.config import load
from crossdock.core.errors import CrossdockError, StoreBroken
from crossdock.runners.function import App
from crossdock.stores.sqlite.store import SqliteStore

BACKEND = "backends.longpost.far.url=http://127.0.0.1:9/far"


class Breaking(SqliteStore):
    """A store whose disk dies with the first commit."""

    async def commit(self, group):
        raise StoreBroken("the disk is gone")


def test_a_broken_store_ends_the_process_with_a_code_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SqliteStore", Breaking)
    config = load(options=[f"data={tmp_path}", "http.listen=127.0.0.1:0", BACKEND], environ={})
    said: list[str] = []
    answers: list[int] = []

    def submit(url: str) -> None:
        answers.append(httpx.post(f"{url}/processes/far/execution", json={"inputs": {"payload": 1}}, timeout=30).status_code)

    def say(line: str) -> None:
        said.append(line)
        if url := re.search(r"listening on (\S+)", line):
            threading.Thread(target=submit, args=(url[1],), daemon=True).start()

    assert run_server(config, None, say) == BROKEN
    assert "the disk is gone" in said[-1]
    assert answers in ([], [503]), "what could not be written was not accepted"


def test_a_kind_has_one_runner():
    app = App()

    @app.function("far")
    def far() -> None: ...

    with pytest.raises(CrossdockError, match="the kind 'far' is also a function of the App"):
        kinds_of(load(options=[BACKEND], environ={}), app)
