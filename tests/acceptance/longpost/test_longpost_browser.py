"""worker.js and worker.legacy.js of the quick-server package, unchanged, in Chromium, on a page of another origin."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import quick_server

pytestmark = [pytest.mark.acceptance, pytest.mark.browser]

PACKAGE = Path(quick_server.__file__).parent
SCENARIO = Path(__file__).with_name("scenario.js")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGES = {
    "worker.js": """<!doctype html><meta charset="utf-8"><script src="/scenario.js"></script>
<script type="module">import {{Worker}} from '/worker.js'; scenario(Worker, '{base}');</script>""",
    "worker.legacy.js": """<!doctype html><meta charset="utf-8"><script src="/scenario.js"></script>
<script src="/worker.legacy.js"></script><script>scenario(window.Worker, '{base}');</script>""",
}
SECONDS = 90


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("Chromium has to be installed where CI=true")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


class PageServer(ThreadingHTTPServer):
    """Serves one page with its scripts, and takes what the page has to tell."""

    def __init__(self, page: str) -> None:
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.outcomes: queue.Queue[dict] = queue.Queue()
        self.files = {
            "/": ("text/html", page.encode()),
            "/scenario.js": ("text/javascript", SCENARIO.read_bytes()),
            **{f"/{name}": ("text/javascript", (PACKAGE / name).read_bytes()) for name in PAGES},
        }


class PageHandler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        media_type, content = self.server.files.get(self.path, ("text/plain", b""))
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.outcomes.put(json.loads(body))

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(params=PAGES)
def outcome(request: pytest.FixtureRequest, server, chromium: str, tmp_path: Path) -> Iterator[dict]:
    """What the page saw."""
    pages = PageServer(PAGES[request.param].format(base=f"{server.url}/longpost"))
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{pages.server_address[1]}/"
    log = tmp_path / "chromium.log"
    with log.open("wb") as output:
        browser = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0", address],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield pages.outcomes.get(timeout=SECONDS)
        except queue.Empty:
            pytest.fail(f"the page told nothing in {SECONDS} s:\n{log.read_text(errors='replace')[-3000:]}")
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            pages.shutdown()


def test_a_page_gets_what_it_asked_for(outcome: dict, server) -> None:
    assert outcome["quick"] == {"result": {"text": "ä😀", "list": [1, None]}, "status": [1, 0]}
    assert outcome["slow"] == {"result": 1.2, "status": [1, 0]}
    assert outcome["cargo"] == {"same": True, "status": [1, 0]}
    assert outcome["wide"] == {"same": True, "status": [1, 0]}
    assert (outcome["failed"]["error"], outcome["failed"]["status"]) == ({"err": "I'm a Teapot", "code": 418}, [1, -1])
    assert outcome["boom"]["error"] == {"err": "Internal Server Error", "code": 500}
    assert outcome["missing"]["error"] == {"err": "Not Found", "code": 404}
    assert outcome["second"] == "second"
    assert outcome["counts"][0] == 0
    # Stopping is cooperative at first: what does not listen is killed after the grace period.
    deadline = time.monotonic() + 20
    while dismissed(server) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def dismissed(server) -> int:
    with urllib.request.urlopen(f"{server.url}/jobs?status=dismissed") as reply:
        return len(json.load(reply)["jobs"])
