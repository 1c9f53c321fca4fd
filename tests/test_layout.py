"""The layout check itself: it accepts this tree, and finds what is planted in another."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_layout", ROOT / "scripts/check_layout.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layout = _load()


def plant(root: Path, name: str, text: str) -> list[str]:
    path = root / "src/crossdock" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(layout.check(root))


def test_this_tree_is_as_agreed() -> None:
    assert list(layout.check(ROOT)) == []


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("long.py", "x = 1\n" * 401, "401 lines"),
        ("f.py", "def f():\n" + "    x = 1\n" * 50, "f has 51 lines"),
        ("c.py", "class C:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(16)), "C has 16 methods"),
        ("utils.py", "", "'utils' says nothing"),
        ("helpers/x.py", "", "'helpers' says nothing"),
        ("a.py", "import pickle", "imports pickle"),
        ("a.py", "def f():\n    from marshal import loads", "imports marshal"),
        ("a.py", "import os, shelve as s", "imports shelve"),
        ("a.py", "eval('1')", "calls eval"),
        ("a.py", "import yaml\nyaml.load('')", "calls yaml.load"),
        ("a.py", "import numpy\nnumpy.load('x', allow_pickle=True)", "uses allow_pickle"),
        ("__init__.py", "def f(): ...", "only re-exports"),
        ("core/broker.py", "x = 1\n" * 400, ""),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    found = plant(tmp_path, name, text)
    assert [complaint in line for line in found] == ([True] if complaint else [])


def test_a_class_may_have_the_verbs_of_its_port_on_top(tmp_path: Path) -> None:
    verbs = "".join(f"    def verb{i}(self): ...\n" for i in range(10))
    others = "".join(f"    def other{i}(self): ...\n" for i in range(15))
    assert plant(tmp_path, "core/ports.py", f"class Store:\n{verbs}") == []
    assert plant(tmp_path, "store.py", f"class MemoryStore:\n{verbs}{others}") == []
    assert len(plant(tmp_path, "store.py", f"class MemoryStore:\n{verbs}{others}    def more(self): ...\n")) == 1


def test_the_reading_order_counts_code_only(tmp_path: Path) -> None:
    text = '"""Doc\nstring."""\n\n# comment\nx = [\n    1,\n]\n'
    assert layout.code_lines(text) == 3
    plant(tmp_path, "core/jobs.py", "x = 1\n" * 400)
    found = plant(tmp_path, "core/broker.py", "y = 1\n" * 400 + "# comment\n")
    assert found == ["src/crossdock/core/broker.py: 401 lines, at most 400"]
    plant(tmp_path, "core/broker.py", "y = 1\n" * 400)
    assert "801 lines of code" in plant(tmp_path, "core/ports.py", "z = 1\n")[0]


def test_docstrings_do_not_make_a_function_long(tmp_path: Path) -> None:
    docstring = '    """Say.\n' + "    more\n" * 60 + '    """\n'
    assert plant(tmp_path, "f.py", f"def f():\n{docstring}" + "    x = 1\n" * 49) == []
