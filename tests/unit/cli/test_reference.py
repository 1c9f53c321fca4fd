"""The generated pages are what the code says."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "generate_reference.py"


@pytest.fixture
def generator():
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_have_not_drifted(generator, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate_reference.py", "--check"])
    assert generator.main() == 0, capsys.readouterr().err


def test_drift_is_noticed_and_mended(generator, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(generator, "REFERENCE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_reference.py"])
    assert generator.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate_reference.py", "--check"])
    assert generator.main() == 0
    (tmp_path / "cli.md").write_text("old")
    assert generator.main() == 1
    assert "cli.md differ from the code" in capsys.readouterr().err


def test_every_command_key_and_code_has_its_place(generator):
    page = "\n".join(generator.command_line())
    for command in ("serve", "worker", "submit", "workers", "drain", "doctor", "bench", "key", "jobs list", "jobs retry"):
        assert f"## crossdock {command}\n" in page
    assert "| `listen` |" in "\n".join(generator.configuration())
    assert "| `stale_lease` | 412 |" in "\n".join(generator.errors())
