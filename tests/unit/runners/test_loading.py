"""Finding the App that a reference names, and saying what is wrong if there is none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.function.loading import absolute, load_app

APP = "from crossdock import App\n{name} = App()\n@{name}.function('f')\ndef f(): return 1\n"


@pytest.fixture(autouse=True)
def untouched_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(reference: str) -> str:
    with pytest.raises(CrossdockError) as caught:
        load_app(reference)
    assert caught.value.code is Code.INVALID
    return caught.value.message


def test_a_file_and_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "jobs_of_mine.py").write_text("import neighbour_of_mine\n" + APP.format(name="app"))
    (tmp_path / "neighbour_of_mine.py").write_text("")
    assert list(load_app(f"{tmp_path}/jobs_of_mine.py:app").functions) == ["f"]
    assert list(load_app("jobs_of_mine.py").functions) == ["f"]


def test_a_module(tmp_path: Path) -> None:
    package = tmp_path / "package_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "jobs.py").write_text(APP.format(name="work"))
    assert list(load_app("package_of_mine.jobs:work").functions) == ["f"]


def test_a_file_named_like_a_module_of_the_library_does_not_replace_it(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text(APP.format(name="app"))
    load_app(f"{tmp_path}/json.py:app")
    assert sys.modules["json"] is json


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "there is no file" in refusal("nothing.py:app")
    assert "there is no module 'nothing_of_mine'" in refusal("nothing_of_mine:app")
    assert "there is no module" in refusal("nothing_of_mine.at.all:app")
    assert "names no app" in refusal(":app")
    assert "names no app" in refusal("app.py:")
    assert "there is no module" in refusal("nothing.at.all")


def test_names_that_would_do_are_proposed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(APP.format(name="work"))
    assert "has no 'app'; it has a.py:work" in refusal("a.py:app")
    (tmp_path / "b.py").write_text("app = 3")
    assert "'app' in b.py is no App but a int; write `app = App()`" in refusal("b.py:app")


def test_what_an_import_raises_is_shown_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nraise ValueError('not today')\n")
    message = refusal("broken.py:app")
    assert "ValueError: not today" in message
    assert "broken.py, line 2" in message
    (tmp_path / "syntax.py").write_text("def f(:\n")
    assert "SyntaxError" in refusal("syntax.py:app")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    assert "SystemExit" in refusal("leaves.py:app")
    (tmp_path / "needs.py").write_text("import nothing_of_mine")
    assert "nothing_of_mine" in refusal("needs.py:app")
    assert "nothing_of_mine" in refusal("needs:app")


def test_absolute_references_mean_the_same_elsewhere(tmp_path: Path) -> None:
    assert absolute("a.py:work") == f"{tmp_path}/a.py:work"
    assert absolute("a.py") == f"{tmp_path}/a.py:app"
    assert absolute("package.module:app") == "package.module:app"
