"""``crossdock worker`` at a broker that is not ours: it evaluates as any ReCodEx worker, and outlives the broker."""

import asyncio
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from servers import CROSSDOCK, Program

from acceptance.recodex.recodex_site import submission
from contracts.recodex.worker_broker import PublicBroker

LIMIT = 60.0
SLOW = "#!/bin/sh\nread a b\nsleep 1\necho $((a + b))\n"


class Files:
    """A file server: what is there can be fetched, and what is put is kept."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}
        self.put: dict[str, bytes] = {}
        there, put = self.there, self.put

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = there.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("content-length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def do_PUT(self) -> None:
                put[self.path] = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def files():
    files = Files()
    yield files
    files.close()


@pytest.fixture
async def broker(files):
    broker = PublicBroker(interval=1.0, files=files.url)
    await broker.start()
    yield broker
    await broker.close()


@pytest.fixture
def worker(tmp_path, broker, files):
    (tmp_path / "crossdock.toml").write_text(f'data = "{tmp_path}"\n[[evaluation.file_managers]]\nurl = "{files.url}"\n')
    connect = f"recodex+tcp://127.0.0.1:{broker.port}?hwgroup=group1&header=env=sh"
    program = Program([CROSSDOCK, "worker", "--connect", connect], tmp_path / "log", tmp_path)
    program.start()
    yield program
    program.stop()


def archive(folder, job: str) -> bytes:
    """Return a submission under the id of its job."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.iterdir():
            text = path.read_text().replace("student_x", job)
            info = zipfile.ZipInfo(path.name)
            info.external_attr = 0o755 << 16
            archive.writestr(info, text)
    return packed.getvalue()


async def test_an_evaluation_while_the_broker_restarts(tmp_path, broker, files, worker):
    folder = submission(tmp_path / "slow", {"main.sh": SLOW}, command="./main.sh", group="group1")
    for job in ("j1", "j2"):
        files.there[f"/{job}.zip"] = archive(folder, job)
    await broker.until(lambda: broker.workers, LIMIT)
    assert broker.inits[0][0] == b"group1"
    assert b"env=sh" in broker.inits[0]
    await broker.submit("j1")
    await broker.until(lambda: ("j1", "TASK", "run-small", "COMPLETED") in broker.progress, LIMIT)
    await broker.kill()
    await asyncio.sleep(0.5)
    await broker.start()
    await broker.until(lambda: broker.ended, LIMIT)
    assert broker.ended == [("j1", "OK", "")]
    assert b"current_job=j1" in broker.inits[-1]
    await broker.submit("j2")
    await broker.until(lambda: len(broker.ended) == 2, LIMIT)
    assert [line for line in broker.progress if line[0] == "j2"][-2:] == [("j2", "UPLOADED"), ("j2", "FINISHED")]
    for job in ("j1", "j2"):
        with zipfile.ZipFile(io.BytesIO(files.put[f"/{job}.result"])) as results:
            found = yaml.safe_load(results.read("result/result.yml"))
        assert (found["job-id"], found["hw-group"]) == (job, "group1")
        assert {entry["status"] for entry in found["results"]} == {"OK"}
    assert sum(line == ("j1", "STARTED") for line in broker.progress) <= 1


async def test_an_archive_that_is_not_there_is_tried_again_and_then_found(tmp_path, broker, files, worker):
    await broker.until(lambda: broker.workers, LIMIT)
    await broker.submit("j1")
    await broker.until(lambda: ("j1", "ABORTED") in broker.progress, LIMIT)
    folder = submission(tmp_path / "slow", {"main.sh": SLOW}, command="./main.sh", group="group1")
    files.there["/j1.zip"] = archive(folder, "j1")
    await broker.until(lambda: broker.ended, LIMIT)
    assert broker.ended == [("j1", "OK", "")]
