"""The file server and the library that real workers use: curl, and the bytes of ``Expect: 100-continue``."""

import asyncio
import base64
import shutil
import time

import pytest
from starlette.routing import Router

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.http.server import Server, ServerOptions
from crossdock.http.shield import Shield
from crossdock.protocols.recodex.files import FileServer, FilesOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.sqlite.store import SqliteStore

AUTH = "worker:secret"
HEADER = "authorization: Basic " + base64.b64encode(AUTH.encode()).decode()


class Clock:
    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@pytest.fixture
async def server(tmp_path):
    artifacts = file_artifacts(tmp_path / "artifacts")
    store = SqliteStore(tmp_path / "jobs.db")
    broker = Broker(store=store, artifacts=artifacts, signals=LocalSignals(), clock=Clock(), kinds={})
    await broker.open()
    options = FilesOptions(username="worker", password="secret", max_size=50_000_000)
    files = FileServer(options, broker.records, artifacts, broker.clock)
    server = Server(Shield(Router(files.routes())), ServerOptions(port=0, stop_seconds=1))
    await server.start()
    yield server
    await server.stop()
    await broker.close()


async def curl(*arguments):
    """Run curl; return what it writes, and its protocol of the exchange."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        program, "-sSv", "-m", "60", "-u", AUTH, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, said = await process.communicate()
    return output, said.decode(errors="replace")


async def test_curl_puts_without_waiting_and_gets_the_same_back(server, tmp_path):
    path = tmp_path / "results.zip"
    path.write_bytes(bytes(range(256)) * 100_000)
    url = f"{server.url}/worker-files/result/student/1"
    begun = time.monotonic()
    output, said = await curl("-T", str(path), "-H", "Expect: 100-continue", "--expect100-timeout", "30", url)
    assert time.monotonic() - begun < 20
    assert output == b'{"success":true,"code":200,"payload":"OK"}'
    assert "HTTP/1.1 100 Continue" in said
    output, _ = await curl(url)
    assert output == path.read_bytes()
    output, _ = await curl(url.replace("/result/", "/submission-archive/"), "-w", "%{http_code}", "-o", "/dev/null")
    assert output == b"404"


async def test_curl_posts_forms(server, tmp_path):
    (tmp_path / "job-config.yml").write_bytes(b"submission: {}\n")
    (tmp_path / "main.c").write_bytes(b"int main;\r\n--\r\n" * 10_000)
    fields = [f"{name}=@{tmp_path / name}" for name in ("job-config.yml", "main.c")]
    output, _ = await curl(*[word for field in fields for word in ("-F", field)], f"{server.url}/submissions/a%20b")
    assert output == b'{"archive_path":"/submission_archives/a%20b.zip","result_path":"/results/a%20b.zip"}'
    archive, _ = await curl(f"{server.url}/submission_archives/a%20b.zip")
    (tmp_path / "a.zip").write_bytes(archive)
    # Not Python's own reader, which is too close to the writer.
    program = shutil.which("bsdtar") or shutil.which("unzip")
    if program is not None:
        command = [program, "-xf", "a.zip"] if program.endswith("bsdtar") else [program, "-q", "-o", "a.zip", "-d", "."]
        (tmp_path / "out").mkdir()
        (tmp_path / "a.zip").rename(tmp_path / "out/a.zip")
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path / "out")
        assert await process.wait() == 0
        assert (tmp_path / "out/main.c").read_bytes() == (tmp_path / "main.c").read_bytes()


async def exchange(server, head, body=b""):
    """Send a head, and the body once it is asked for; return what came before the body and what came after."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    async with asyncio.timeout(20):
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        rest = await reader.read(65536) if body else b""
    writer.close()
    return first, rest


async def test_the_body_is_asked_for(server):
    head = f"PUT /results/a.zip HTTP/1.1\nhost: x\n{HEADER}\ncontent-length: 3\nexpect: 100-continue"
    first, rest = await exchange(server, head, b"abc")
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.startswith(b"HTTP/1.1 200 ")


async def test_the_body_is_not_asked_for_in_vain(server):
    expect = "expect: 100-continue"
    for line, status in (
        (f"PUT /results/a.zip HTTP/1.1\nhost: x\ncontent-length: 3\n{expect}", b"401"),
        (f"PUT /results/a.zip HTTP/1.1\nhost: x\n{HEADER}\ncontent-length: 50000001\n{expect}", b"413"),
        (f"PUT /worker-files/result/x/1 HTTP/1.1\nhost: x\n{HEADER}\ncontent-length: 3\n{expect}", b"400"),
        (f"PUT /nothing HTTP/1.1\nhost: x\n{HEADER}\ncontent-length: 3\n{expect}", b"404"),
    ):
        first, _ = await exchange(server, line)
        assert first.split(b" ", 2)[1] == status
