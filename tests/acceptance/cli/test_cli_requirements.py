"""Jobs that require something run only where it is: by the options of a worker, and by the server's configuration."""

import pytest

CHOOSY = """
from crossdock import App

app = App()

@app.function("train", requires={"gpu": "a100", "hwgroup": "big|huge"})
def train() -> str:
    return "trained"
"""


@pytest.fixture
def choosy(tmp_path) -> str:
    (tmp_path / "choosy.py").write_text(CHOOSY)
    return "choosy.py:app"


def test_a_job_waits_for_a_worker_that_has_what_it_requires(serve, start, run, choosy, wait_for):
    server = serve(app=choosy)
    job = run("submit", "train", server=server).stdout.strip()
    shown = run("jobs", "show", job, server=server).stdout
    assert "no worker offers gpu=a100 and hwgroup=big|huge" in " ".join(shown.split()), shown
    start("worker", choosy, "--connect", server.url, "--hwgroup", "huge", "--header", "gpu=a100", "--header", "gpu=h100")
    assert run("jobs", "watch", job, server=server).stdout == '"trained"\n'


def test_the_worker_inside_the_server_says_what_it_has(serve, run, choosy):
    server = serve("--set", "worker.hwgroup=big", "--set", 'worker.capabilities={gpu = ["a100"]}', app=choosy)
    assert run("submit", "train", "--wait", server=server).stdout == '"trained"\n'
