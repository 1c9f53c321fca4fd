"""The examples, run as their READMEs say: real servers, and for the page a real browser."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from servers import Program, Server, free_port, running

EXAMPLES = Path(__file__).parents[2] / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

pytestmark = pytest.mark.acceptance


def run_script(script: Path, server: Server) -> str:
    done = subprocess.run(
        [sys.executable, script, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_sweep_runs_every_row_of_its_table(tmp_path: Path) -> None:
    with running(Server(str(EXAMPLES / "sweep/app.py:app"), tmp_path / "data")) as server:
        assert isinstance(server, Server)
        said = run_script(EXAMPLES / "sweep/sweep.py", server)
    # A contagion below the recovery dies out; the strongest one reaches nearly everybody.
    assert "25 of 25 succeeded" in said
    assert "0.2%" in said
    assert "100.0%" in said


def test_a_pipeline_hands_results_on(tmp_path: Path) -> None:
    with running(Server(str(EXAMPLES / "pipeline/app.py:app"), tmp_path / "data")) as server:
        assert isinstance(server, Server)
        said = run_script(EXAMPLES / "pipeline/pipeline.py", server)
    assert said.splitlines()[-3:] == ["the 8", "and 5", "a 4"]


def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("there is no Chromium here")
    assert found is not None, "there is no Chromium here"
    return found


def title(profile: Path, wanted: str, seconds: float = 60) -> str:
    """Return the title of the browser's page once it is ``wanted``, or what it is when the time is over."""
    deadline = time.monotonic() + seconds
    seen = "no page"
    while seen != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            debugger = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{debugger}/json/list") as reply:
                seen = next((target["title"] for target in json.load(reply) if target["type"] == "page"), seen)
    return seen


@pytest.mark.browser
def test_the_page_draws_its_picture_with_the_real_worker_js(tmp_path: Path) -> None:
    chromium = browser()
    port = free_port()
    origins = f'longpost.origins=["http://127.0.0.1:{port}"]'
    server = Server(str(EXAMPLES / "mandelbrot/app.py:app"), tmp_path / "data", settings=[origins])
    pages = Program([sys.executable, EXAMPLES / "mandelbrot/serve.py", "--port", str(port)], tmp_path / "pages.log")
    profile = tmp_path / "profile"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    page = Program([chromium, *flags, f"http://127.0.0.1:{port}/?server={server.url}"], tmp_path / "chromium.log")
    with running(server), running(pages), running(page):
        assert title(profile, "Mandelbrot 8/8") == "Mandelbrot 8/8", server.said() + page.said()
        with urllib.request.urlopen(f"{server.url}/jobs?limit=100") as reply:
            jobs = json.load(reply)["jobs"]
    assert [job["status"] for job in jobs] == ["successful"] * 8
