"""`make demo ARGS=--exit`, as a newcomer runs it: every stop of the tour gives its result, and nothing is left running."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.acceptance
@pytest.mark.timeout(180)
def test_the_tour_ends_well_and_leaves_nothing_behind(tmp_path: Path) -> None:
    marker = str(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/demo.py", "--exit", "--data", marker],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("LONGPOST", "OGC", "command line", "array", "pipeline", "submitted programs", "kill -9"):
        assert word in done.stdout
    assert [
        process for process in psutil.process_iter(["cmdline"]) if marker in " ".join(process.info["cmdline"] or [])
    ] == []


@pytest.mark.acceptance
@pytest.mark.timeout(120)
def test_a_tour_whose_jobs_fail_says_so(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "from crossdock import App, Failed\napp = App()\n\n"
        '@app.function("mandelbrot", raw=True)\nasync def mandelbrot(p: object) -> int:\n    raise Failed("no")\n'
    )
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/demo.py", "--exit", "--app", f"{app}:app", "--data", tmp_path / "data"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed" in done.stdout
