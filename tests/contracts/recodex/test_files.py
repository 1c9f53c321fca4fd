"""The file server as workers and old and new clients meet it: a real server, real HTTP."""

import asyncio
import hashlib
import io
import json
import time
import zipfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from starlette.routing import Router

from crossdock.artifacts.files import file_artifacts
from crossdock.core.broker import Broker
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.requests import Capabilities, Submit, WorkerInfo
from crossdock.http.server import Server, ServerOptions
from crossdock.http.shield import Shield
from crossdock.protocols.recodex.files import FileServer, FilesOptions
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore

AUTH = ("files", "pass: ř")


class Clock:
    """The time, which a test may let pass."""

    def __init__(self):
        self.passed = 0.0

    def wall(self):
        return time.time() + self.passed

    def monotonic(self):
        return time.monotonic() + self.passed


class Scene:
    """A broker, its artifacts on disk, and file servers over it."""

    def __init__(self, store, place):
        self.place = place
        self.clock = Clock()
        self.artifacts = file_artifacts(place, keep=0.0)
        kinds = {"evaluation": Kind(name="evaluation", policy=Policy(attempts=3, backoff=0.0))}
        self.broker = Broker(
            store=store, artifacts=self.artifacts, signals=LocalSignals(), clock=self.clock, kinds=kinds, sweep_every=1e6
        )
        self.files: FileServer

    async def start(self, stack, **options):
        options = {"username": AUTH[0], "password": AUTH[1], "max_size": 1_000_000, **options}
        self.files = FileServer(FilesOptions(**options), self.broker.records, self.artifacts, self.clock)
        server = Server(Shield(Router(self.files.routes())), ServerOptions(port=0, stop_seconds=1))
        await server.start()
        stack.push_async_callback(server.stop)
        self.files.base_url = server.url
        return server

    async def lease(self, payload):
        payload = json.dumps(payload).encode()
        await self.broker.intake.submit(Submit(kind="evaluation", payload=payload))
        return await self.again()

    async def again(self):
        async with asyncio.timeout(20):
            while not (leases := await self.broker.dispatch.claim("local/w", 1, 1)):
                pass
        return leases[0]

    def on_disk(self):
        return {path.name for path in Path(self.place).rglob("*") if path.is_file()}


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["memory", "sqlite"])
async def scene(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "jobs.db")
    scene = Scene(store, tmp_path / "artifacts")
    await scene.broker.open()
    info = WorkerInfo(id="local/w", slots=9, capabilities=Capabilities(values={"kind": ("evaluation",)}), local=True)
    await scene.broker.dispatch.attach(info)
    yield scene
    await scene.broker.close()


@pytest.fixture
async def server(scene, stack):
    return await scene.start(stack)


@pytest.fixture
async def http(server):
    async with httpx.AsyncClient(base_url=server.url, auth=AUTH, timeout=20) as client:
        yield client


def digest(content):
    return hashlib.sha256(content).hexdigest()


def sha1(content):
    return hashlib.sha1(content).hexdigest()


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


# Names


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/results/student_1.zip", {"result": "OK"}),
        ("/attachments/any name", {"result": "OK"}),
        ("/submission_archives/j.tar.gz", {"result": "OK"}),
        ("/worker-files/result/student/1", {"success": True, "code": 200, "payload": "OK"}),
        ("/worker-files/submission-archive/reference/1", {"success": True, "code": 200, "payload": "OK"}),
    ],
)
async def test_what_is_put_can_be_had(http, path, answer):
    assert (await http.get(path)).status_code == 404
    for content in (b"first", b"", b"x" * 900_000):
        response = await http.put(path, content=content)
        assert (response.status_code, response.json()) == (200, answer)
        response = await http.get(path)
        assert (response.status_code, response.content) == (200, content)
        assert response.headers["content-length"] == str(len(content))
        assert response.headers["content-disposition"] == "attachment"
    head = await http.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "900000", b"")


async def test_both_families_name_the_same_files(http):
    await http.put("/worker-files/result/student/1", content=b"new")
    assert (await http.get("/results/student_1.zip")).content == b"new"
    await http.put("/results/reference_1.zip", content=b"old")
    assert (await http.get("/worker-files/result/reference/1")).content == b"old"
    assert (await http.get("/worker-files/submission-archive/reference/1")).status_code == 404


@pytest.mark.parametrize("path", ["/worker-files/result/other/1", "/worker-files/submission-archive/x/1"])
async def test_unknown_types_are_refused(http, path):
    assert (await http.get(path)).status_code == 400
    assert (await http.put(path, content=b"")).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/results/..%2f..%2fetc%2fpasswd",
        "/results/%2e%2e",
        "/results/%00",
        "/submission_archives/unknown.zip",
        "/exercises/unknown",
        "/exercises/" + "0" * 40,
        "/exercises/" + "g" * 40,
        "/worker-files/exercise-file/..",
        "/worker-files/jobs/0000000000000/secret/submission.zip",
        "/worker-files/jobs/nonsense/secret/submission.zip",
        "/worker-files/nothing",
    ],
)
async def test_what_is_not_there_is_not_found(http, path):
    assert (await http.get(path)).status_code == 404


async def test_odd_names_are_only_names(scene, http):
    for name in ("..", "%2e%2e", "%00", "a\\b", "\u0159", "x" * 255):
        path = "/results/" + name.replace("..", "%2e%2e")
        assert (await http.put(path, content=name.encode())).status_code in {200, 404}
    assert (await http.put("/results/" + "x" * 256, content=b"")).status_code == 400
    assert scene.on_disk()
    assert all(len(name) == 64 for name in scene.on_disk())


@pytest.mark.parametrize(("method", "path", "allowed"), [("DELETE", "/results/a", "GET, PUT"), ("GET", "/tasks", "POST")])
async def test_other_methods_are_refused(http, method, path, allowed):
    response = await http.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


# Who may come in


@pytest.mark.parametrize("auth", [None, ("files", "wrong"), ("", ""), ("files", "pass: r")])
async def test_strangers_are_kept_out(server, auth):
    async with httpx.AsyncClient(base_url=server.url, auth=auth) as client:
        for method, path in (("GET", "/results/a"), ("PUT", "/results/a"), ("POST", "/exercises"), ("DELETE", "/tasks")):
            response = await client.request(method, path)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Bearer eA==", "Basic eA", "basic " + "A" * 5000])
async def test_odd_credentials_are_kept_out(server, header):
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/results/a", headers={"authorization": header})).status_code == 401


async def test_without_a_password_everybody_may_come_in(scene, stack):
    server = await scene.start(stack, username="", password="")
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.put("/results/a", content=b"1")).status_code == 200


# Sizes


async def test_too_much_is_refused_and_nothing_of_it_is_kept(scene, http):
    async def without_a_length():
        for _ in range(20):
            yield b"x" * 65536

    assert (await http.put("/results/a", content=b"x" * 1_000_001)).status_code == 413
    assert (await http.put("/results/a", content=without_a_length())).status_code == 413
    assert (await http.post("/submissions/a", files={"f": b"x" * 1_000_001})).status_code == 413
    assert (await http.post("/exercises", files={"f": b"x" * 1_000_001})).status_code == 413
    assert (await http.get("/results/a")).status_code == 404
    assert scene.on_disk() == set()


# Exercise files


async def test_exercise_files_are_named_by_their_content(http):
    content = b"some input\n"
    path = f"/worker-files/exercise-file/{sha1(content)}"
    wrong = await http.put(path, content=b"something else")
    assert (wrong.status_code, (await http.get(path)).status_code) == (400, 404)
    assert (
        await http.put(path.upper().replace("/WORKER-FILES/EXERCISE-FILE", "/worker-files/exercise-file"), content=content)
    ).status_code == 200
    for prefix in ("/worker-files/exercise-file/", "/worker-files/supplementary-file/", "/exercises/", "/tasks/"):
        assert (await http.get(prefix + sha1(content))).content == content


@pytest.mark.parametrize("path", ["/exercises", "/tasks"])
async def test_exercise_files_come_in_forms(http, path):
    contents = {"a.txt": b"1", "dir/../b": b"2" * 100_000, "empty": b""}
    response = await http.post(path, files=contents)
    paths = {name: f"/exercises/{sha1(content)}" for name, content in contents.items()}
    assert (response.status_code, response.json()) == (200, {"result": "OK", "files": paths})
    for name, content in contents.items():
        assert (await http.get(paths[name])).content == content


async def test_an_exercise_file_stays_as_long_as_it_is_used(scene, stack):
    server = await scene.start(stack, keep_exercises=1000.0)
    async with httpx.AsyncClient(base_url=server.url, auth=AUTH) as http:
        path = "/exercises/" + sha1(b"1")
        await http.put(path, content=b"1")
        for _ in range(5):
            scene.clock.passed += 600
            assert (await http.get(path)).status_code == 200
        scene.clock.passed += 1001
        assert (await http.get(path)).status_code == 404


# Archives of forms


async def test_a_submission_becomes_an_archive(http):
    files = {"job-config.yml": b"submission:\n", "src/main.c": b"int main;" * 20_000, "\u0159.txt": b""}
    response = await http.post("/submissions/student_1", files=files)
    expected = {"archive_path": "/submission_archives/student_1.zip", "result_path": "/results/student_1.zip"}
    assert (response.status_code, response.json()) == (200, expected)
    first = await http.get("/submission_archives/student_1.zip")
    assert first.headers["content-type"] == "application/zip"
    assert members(first.content) == files
    assert (await http.get("/worker-files/submission-archive/student/1")).content == first.content
    await http.post("/submissions/student_1", files={"job-config.yml": b"other"})
    assert members((await http.get(expected["archive_path"])).content) == {"job-config.yml": b"other"}


async def test_for_workers_of_old_the_files_stand_in_a_directory(scene, stack):
    server = await scene.start(stack, layout="directory")
    async with httpx.AsyncClient(base_url=server.url, auth=AUTH) as http:
        await http.post("/submissions/j", files={"job-config.yml": b"1", "a/b": b"2"})
        archive = (await http.get("/submission_archives/j.zip")).content
    assert members(archive) == {"j/job-config.yml": b"1", "j/a/b": b"2"}


@pytest.mark.parametrize(
    "names", [["../x"], ["/etc/x"], ["a", "A"], ["a", "a/b"], ["C:x"], [r"..\x"], [""], ["a/../../x"], []]
)
async def test_names_that_lead_elsewhere_are_refused(http, names):
    content_type = "multipart/form-data; boundary=b"
    parts = [f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n1\r\n' for name in names]
    body = "".join([*parts, "--b--\r\n"])
    response = await http.post("/submissions/j", content=body, headers={"content-type": content_type})
    assert response.status_code == 400
    assert (await http.get("/submission_archives/j.zip")).status_code == 404


async def test_what_is_no_form_is_refused(http):
    for path in ("/submissions/j", "/exercises"):
        assert (await http.post(path, content=b"x")).status_code == 400
        assert (
            await http.post(path, content=b"x", headers={"content-type": "multipart/form-data; boundary=b"})
        ).status_code == 400


# Time


async def test_bytes_that_nobody_names_are_swept(scene, http):
    await http.put("/results/a.zip", content=b"first")
    await http.put("/results/a.zip", content=b"second")
    await http.put("/results/b.zip", content=b"second")
    await http.put("/exercises/" + "0" * 40, content=b"wrong hash")
    await scene.broker.sweep()
    assert scene.on_disk() == {digest(content) for content in (b"first", b"second", b"wrong hash")}
    scene.clock.passed += 3 * 3600
    await scene.broker.sweep()
    assert scene.on_disk() == {digest(b"second")}
    assert (await http.get("/results/a.zip")).content == b"second"
    scene.clock.passed += 8 * 86400
    assert (await http.get("/results/a.zip")).status_code == 404
    await scene.broker.sweep()
    assert scene.on_disk() == set()


async def test_what_is_put_again_after_it_was_replaced_stays(scene, http):
    for content in (b"first", b"second", b"first"):
        await http.put("/results/a.zip", content=content)
    scene.clock.passed += 3 * 3600
    await scene.broker.sweep()
    assert (await http.get("/results/a.zip")).content == b"first"


async def test_many_puts_of_one_name_leave_one_file(scene, http):
    contents = [b"%d" % number for number in range(30)]
    await asyncio.gather(*[http.put("/results/a.zip", content=content) for content in contents])
    kept = (await http.get("/results/a.zip")).content
    assert kept in contents
    scene.clock.passed += 3 * 3600
    await scene.broker.sweep()
    assert scene.on_disk() == {digest(kept)}


async def test_an_upload_that_breaks_off_changes_nothing(scene, http, server):
    await http.put("/results/a.zip", content=b"first")
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    credentials = httpx.BasicAuth(*AUTH)._auth_header
    writer.write(f"PUT /results/a.zip HTTP/1.1\r\nhost: x\r\nauthorization: {credentials}\r\n".encode())
    writer.write(b"content-length: 100\r\n\r\nhalf of it")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(20):
        while scene.on_disk() != {digest(b"first")}:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    assert (await http.get("/results/a.zip")).content == b"first"


# Evaluations of other protocols


async def reference(scene, content):
    ref = await scene.artifacts.put(content, "application/zip")
    return {"digest": ref.digest, "size": ref.size, "media_type": ref.media_type}


async def test_an_evaluation_of_another_protocol_gets_urls_of_its_own(scene, server):
    lease = await scene.lease({"submission": await reference(scene, b"PK submission")})
    archive, result = await scene.files.publish(lease)
    assert archive.startswith(f"{server.url}/worker-files/jobs/{encode_id(lease.job)}/")
    assert await scene.files.collect(lease) is None
    async with httpx.AsyncClient() as client:
        assert (await client.get(archive)).content == b"PK submission"
        assert (await client.put(archive, content=b"")).status_code == 405
        assert (await client.get(result)).status_code == 405
        for content in (b"PK results", b"PK better results"):
            assert (await client.put(result, content=content)).status_code == 200
        assert (await client.put(result + "x", content=b"")).status_code == 404
        secret = archive.split("/")[-2]
        assert (await client.get(archive.replace(secret, "x" * len(secret)))).status_code == 404
        assert (await client.get(archive.replace(secret, "%C5%99"))).status_code == 404
    document = json.loads(await scene.files.collect(lease))
    assert document["status"] == "OK"
    assert document["archive"] == {"digest": digest(b"PK better results"), "size": 17, "media_type": "application/zip"}


async def test_the_urls_of_an_earlier_attempt_are_gone(scene, server):
    first = await scene.lease({"submission": await reference(scene, b"PK")})
    old_archive, old_result = await scene.files.publish(first)
    await scene.broker.dispatch.report(first.token, Outcome(kind=OutcomeKind.ERRORED, retry_after=0.0))
    second = await scene.again()
    archive, result = await scene.files.publish(second)
    async with httpx.AsyncClient() as client:
        assert (await client.get(old_archive)).status_code == 404
        assert (await client.put(old_result, content=b"late")).status_code == 404
        assert (await client.get(archive)).status_code == 200
        await client.put(result, content=b"good")
    assert await scene.files.collect(first) is None
    assert json.loads(await scene.files.collect(second))["archive"]["digest"] == digest(b"good")


async def test_urls_that_a_payload_has_already_stay(scene, server):
    lease = await scene.lease({"submission": "http://x/a.zip"})
    archive, result = await scene.files.publish(lease)
    assert archive == "http://x/a.zip"
    async with httpx.AsyncClient() as client:
        assert (await client.put(result, content=b"1")).status_code == 200
        assert (await client.get(result.replace("results.zip", "submission.zip"))).status_code == 404
    lease = await scene.lease({"submission": await reference(scene, b"PK"), "result_url": "http://x/r"})
    archive, result = await scene.files.publish(lease)
    assert archive.startswith(server.url)
    assert result == "http://x/r"


@pytest.mark.parametrize("payload", [{}, [], {"submission": 1}, {"submission": {"digest": 1}}])
async def test_what_names_no_submission_is_not_published(scene, server, payload):
    assert await scene.files.publish(await scene.lease(payload)) is None


async def test_without_an_address_nothing_is_published(scene, server):
    lease = await scene.lease({"submission": "http://x/a.zip"})
    scene.files.base_url = ""
    assert await scene.files.publish(lease) is None
