"""Getting and putting files over HTTP, and the cache between jobs and servers."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from crossdock.runners.program.cache import FileCache
from crossdock.runners.program.endings import EvaluationFailed, TaskFailed
from crossdock.runners.program.fetching import Fetching
from crossdock.runners.program.settings import FileManager
from crossdock.runners.program.transfer import HttpFetcher, TransferError
from crossdock.runners.program.workspace import Workspace
from unit.program.scene import FileServer


@pytest.fixture
def server() -> Iterator[FileServer]:
    found = FileServer()
    found.files |= {"/x": b"hello", "/secret/x": b"hidden", "/big": bytes(1_000_000)}
    yield found
    found.close()


@pytest.fixture
async def fetcher(server: FileServer) -> AsyncIterator[HttpFetcher]:
    found = HttpFetcher((FileManager(f"{server.url}/secret", "worker", "pass"), FileManager(server.url)))
    yield found
    await found.close()


async def got(fetcher: HttpFetcher, url: str, limit: int = 1 << 20) -> bytes:
    target = io.BytesIO()
    await fetcher.get(url, target, limit)
    return target.getvalue()


async def test_get(fetcher: HttpFetcher, server: FileServer) -> None:
    assert await got(fetcher, f"{server.url}/x") == b"hello"
    assert await got(fetcher, f"{server.url}/big") == bytes(1_000_000)


async def test_put(fetcher: HttpFetcher, server: FileServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(700_000))
    with source.open("rb") as file:
        await fetcher.put(f"{server.url}/new", file)
        assert server.files["/new"] == source.read_bytes()
        with pytest.raises(TransferError, match="302"):
            await fetcher.put(f"{server.url}/moved/new2", file)
    assert "/new2" not in server.files
    with source.open("rb") as file, pytest.raises(TransferError, match="500"):
        await fetcher.put(f"{server.url}/status/500", file)


async def test_credentials_are_sent_unasked_to_those_they_are_for(fetcher: HttpFetcher, server: FileServer) -> None:
    assert await got(fetcher, f"{server.url}/secret/x") == b"hidden"
    assert await got(fetcher, f"{server.url}/moved/secret/x") == b"hidden"
    await got(fetcher, f"{server.url}/x")
    assert [bool(authorization) for _, _, authorization in server.requests] == [True, False, True, False]


async def test_of_several_file_managers_the_first_counts(server: FileServer) -> None:
    fetcher = HttpFetcher((FileManager(server.url, "other", "word"), FileManager(f"{server.url}/secret", "worker", "pass")))
    with pytest.raises(TransferError, match="401"):
        await got(fetcher, f"{server.url}/secret/x")
    await fetcher.close()


async def test_credentials_stay_with_their_host(server: FileServer) -> None:
    other = FileServer()
    other.files["/y"] = b"elsewhere"
    server.elsewhere = f"{other.url}/y"
    fetcher = HttpFetcher((FileManager(server.url, "worker", "pass"),), [other.url])
    assert await got(fetcher, f"{server.url}/away") == b"elsewhere"
    assert other.requests[0][2] is None
    # A host whose name only begins like that of a file manager is another one.
    prefix = other.url[:-1]
    fetcher_of_prefix = HttpFetcher((FileManager(prefix, "worker", "pass"),), [other.url])
    await got(fetcher_of_prefix, f"{other.url}/y")
    assert other.requests[1][2] is None
    await fetcher.close()
    await fetcher_of_prefix.close()
    other.close()


async def test_credentials_and_permission_stay_below_their_prefix(server: FileServer) -> None:
    fetcher = HttpFetcher((FileManager(f"{server.url}/secret", "worker", "pass"),))
    assert await got(fetcher, f"{server.url}/secret/x") == b"hidden"
    server.requests.clear()
    for path in ("/secretX", "/secret/../x", "/secret/%2e%2e/x", "/secret/..%2fx", "/secret/..%5cx"):
        with pytest.raises(TransferError, match="public"):
            await got(fetcher, server.url + path)
    assert server.requests == []
    await fetcher.close()
    fetcher = HttpFetcher((FileManager(f"{server.url}/secret", "worker", "pass"),), private=True)
    for path in ("/secretX", "/secret/../x"):
        with contextlib.suppress(TransferError):
            await got(fetcher, server.url + path)
    assert [authorization for _, _, authorization in server.requests] == [None, None]
    await fetcher.close()


@pytest.mark.parametrize(
    "url",
    [
        *(
            f"http://{place}/x"
            for place in ("127.0.0.1:1", "localhost:1", "[::1]:1", "169.254.169.254", "user:word@127.0.0.1")
        ),
        *("", "x", "http://", "http://a\nb/", "http://127.0.0.1:99999/", "ftp://host/x", "file:///etc/passwd"),
    ],
)
async def test_where_nothing_may_lead(fetcher: HttpFetcher, url: str) -> None:
    with pytest.raises(TransferError) as caught:
        await got(fetcher, url)
    assert "word" not in str(caught.value)


async def test_redirects_are_judged_too(server: FileServer) -> None:
    other = FileServer()
    other.files["/y"] = b"private"
    server.elsewhere = f"{other.url}/y"
    fetcher = HttpFetcher((FileManager(server.url),))
    with pytest.raises(TransferError, match="public"):
        await got(fetcher, f"{server.url}/away")
    assert other.requests == []
    server.elsewhere = "/away"
    with pytest.raises(TransferError, match="too many"):
        await got(fetcher, f"{server.url}/away")
    await fetcher.close()
    other.close()


@pytest.mark.parametrize(("path", "reason"), [("/none", "404"), ("/status/500", "500"), ("/status/304", "304")])
async def test_answers_that_are_none(fetcher: HttpFetcher, server: FileServer, path: str, reason: str) -> None:
    with pytest.raises(TransferError, match=reason):
        await got(fetcher, f"{server.url}{path}?token=hidden#part")


async def test_too_large(fetcher: HttpFetcher, server: FileServer) -> None:
    target = io.BytesIO()
    with pytest.raises(TransferError, match="100"):
        await fetcher.get(f"{server.url}/big", target, 100)
    assert len(target.getvalue()) <= 100


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "gzip, gzip", "deflate", "identity, gzip", "unknown"])
async def test_what_is_compressed_on_the_way_is_refused(fetcher: HttpFetcher, server: FileServer, encoding: str) -> None:
    server.files["/bomb"] = gzip.compress(gzip.compress(bytes(10_000_000)))
    server.encoding = encoding
    target = io.BytesIO()
    with pytest.raises(TransferError, match="compresses"):
        await fetcher.get(f"{server.url}/bomb", target, 1 << 30)
    assert target.getvalue() == b""


async def test_a_file_that_is_compressed_stays_so(fetcher: HttpFetcher, server: FileServer) -> None:
    server.files["/archive"] = gzip.compress(b"content")
    server.encoding = "identity"
    assert await got(fetcher, f"{server.url}/archive") == server.files["/archive"]


async def test_nobody_there(server: FileServer, fetcher: HttpFetcher) -> None:
    url = server.url
    server.close()
    with pytest.raises(TransferError, match="Connect"):
        await got(fetcher, f"{url}/x")


# The cache


class Cached:
    def __init__(self, folder: Path, server: FileServer, fetcher: HttpFetcher, limit: int = 0, size: int = 1 << 20) -> None:
        self.directory = folder / "cache"
        self.cache = FileCache(self.directory, limit, [server.url])
        self.workspace = Workspace(folder / "work", 1, "job")
        self.collector = f"{server.url}/exercises"
        self._fetching = Fetching(fetcher, self.cache, size)

    async def fetch(self, name: str, target: str = "file", collector: str = "") -> bytes:
        await self._fetching.fetch(collector or self.collector, name, target, self.workspace)
        return (self.workspace.source / target).read_bytes()

    def others(self) -> set[str]:
        return {path.name for path in self.directory.parent.iterdir()} - {"cache", "work"}

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())


@pytest.fixture
def cached(tmp_path: Path, server: FileServer, fetcher: HttpFetcher) -> Iterator[Cached]:
    server.files |= {"/exercises/a": b"content of a", "/exercises/d/b": b"content of b"}
    found = Cached(tmp_path, server, fetcher)
    yield found
    found.workspace.close()


async def test_a_file_is_fetched_once(cached: Cached, server: FileServer) -> None:
    assert await cached.fetch("a") == b"content of a"
    assert await cached.fetch("a", "again") == b"content of a"
    assert await cached.fetch("a") == b"content of a"  # over what is there
    assert server.count("GET", "/exercises/a") == 1
    assert cached.names() == ["a"]
    assert await cached.fetch("d/b") == b"content of b"
    assert cached.names() == ["a", "d/b"]


@pytest.mark.parametrize("name", ["a/", "./a", "a/.", ".//a"])
async def test_what_is_asked_for_is_what_it_is_kept_as(cached: Cached, server: FileServer, name: str) -> None:
    server.files["/exercises/a/"] = b"something else"
    assert await cached.fetch(name) == b"content of a"
    assert [path for _, path, _ in server.requests] == ["/exercises/a"]


async def test_a_hit_is_young_again(cached: Cached) -> None:
    await cached.fetch("a")
    os.utime(cached.directory / "a", (1, 1))
    await cached.fetch("a")
    assert time.time() - (cached.directory / "a").stat().st_mtime < 3600


async def test_a_directory_takes_the_file_under_its_name(cached: Cached) -> None:
    (cached.workspace.source / "into").mkdir()
    await cached.fetch("d/b", "file")
    with pytest.raises(IsADirectoryError):
        await cached.fetch("d/b", "into")
    assert (cached.workspace.source / "into/b").read_bytes() == b"content of b"


@pytest.mark.parametrize("name", ["none", "", "../x", "/etc/passwd", "a/../../x", ".part-x", "@x", "a\nb"])
async def test_what_cannot_be_fetched(cached: Cached, name: str) -> None:
    with pytest.raises(TaskFailed):
        await cached.fetch(name)
    assert cached.names() == []
    assert not cached.others()


async def test_targets_that_are_none(cached: Cached) -> None:
    with pytest.raises(EvaluationFailed):
        await cached.fetch("a", "/etc/x")
    with pytest.raises(TaskFailed):
        await cached.fetch("a", ".")
    with pytest.raises(TaskFailed):
        await cached.fetch("a", "none/x")


async def test_a_file_that_is_too_large_is_not_kept(tmp_path: Path, server: FileServer, fetcher: HttpFetcher) -> None:
    server.files["/exercises/a"] = bytes(101)
    cached = Cached(tmp_path, server, fetcher, size=100)
    with pytest.raises(TaskFailed):
        await cached.fetch("a")
    assert cached.names() == []
    cached.workspace.close()


async def test_nobody_can_put_a_file_in_the_place_of_another(tmp_path: Path, server: FileServer) -> None:
    other = FileServer()
    other.files["/exercises/a"] = b"forged"
    server.files["/exercises/a"] = b"genuine"
    fetcher = HttpFetcher((FileManager(server.url),), [other.url])
    cached = Cached(tmp_path, server, fetcher)
    assert await cached.fetch("a", collector=f"{other.url}/exercises") == b"forged"
    assert await cached.fetch("a") == b"genuine"
    assert await cached.fetch("a", collector=f"{other.url}/exercises") == b"forged"
    assert len(cached.names()) == 2
    cached.workspace.close()
    await fetcher.close()
    other.close()


@pytest.mark.parametrize(
    "collector",
    [
        *(
            f"https://files.example.org/v1{path}"
            for path in ("", "/", "/exercises", "/tasks", "/worker-files/exercise-file")
        ),
        "https://FILES.example.org:443/v1/exercises",
    ],
)
def test_exercises_of_a_known_server_share_their_names(tmp_path: Path, collector: str) -> None:
    for known in ("https://files.example.org/v1", "https://files.example.org/v1/"):
        assert FileCache(tmp_path, 0, [known]).place(collector, "d/a") == ("d", "a")


@pytest.mark.parametrize(
    "collector",
    [
        *(
            "https://files.example.org.evil.net/v1",
            "https://files.example.org@evil.net/v1",
            "https://files.example.org:81/v1",
        ),
        *("http://files.example.org/v1", "https://x@files.example.org/v1", "https://files.example.org", "", "https://[/v1"),
        "https://files.example.org:x/v1",
        *(
            f"https://files.example.org/v1{rest}"
            for rest in ("x", "/attachments", "/exercises/a", "/a/../exercises", "?", "#")
        ),
        *(f"https://files.example.org/v1/exercises{rest}" for rest in ("?x", "#x", "/..", "x", "/%2e%2e/results", "//")),
    ],
)
def test_any_other_collector_has_names_of_its_own(tmp_path: Path, collector: str) -> None:
    place = FileCache(tmp_path, 0, ["https://files.example.org/v1"]).place(collector, "a")
    assert place == (f"@{hashlib.sha256(collector.encode()).hexdigest()[:32]}", "a")


@pytest.mark.parametrize("collector", ["", "/attachments"])
async def test_a_name_that_is_a_digest_is_a_promise(cached: Cached, server: FileServer, collector: str) -> None:
    collector = collector and server.url + collector
    name = hashlib.sha1(b"genuine").hexdigest()
    for folder in ("/exercises", "/attachments"):
        server.files |= {f"{folder}/{name}": b"forged", f"{folder}/{name.upper()}": b"forged"}
    for each in (name, name.upper()):
        with pytest.raises(TaskFailed, match=f"{each}.*{hashlib.sha1(b'forged').hexdigest()}"):
            await cached.fetch(each, collector=collector)
        assert not (cached.workspace.source / "file").exists()
    assert cached.names() == []
    for folder in ("/exercises", "/attachments"):
        server.files[f"{folder}/{name}"] = b"genuine"
    assert await cached.fetch(name, collector=collector) == b"genuine"
    assert len(cached.names()) == 1


async def test_many_fetch_at_once(cached: Cached, server: FileServer) -> None:
    server.files["/exercises/large"] = os.urandom(1_000_000)
    found = await asyncio.gather(*(cached.fetch("large", f"file{index}") for index in range(8)))
    assert set(found) == {server.files["/exercises/large"]}
    assert cached.names() == ["large"]


class Slow:
    """Writes half of a file and waits."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def get(self, url: str, target: BinaryIO, limit: int) -> None:
        target.write(b"half")
        target.flush()
        self.begun.set()
        await asyncio.Event().wait()

    async def put(self, url: str, source: BinaryIO) -> None:
        raise AssertionError

    async def close(self) -> None:
        pass


async def test_a_download_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    slow = Slow()
    cache = FileCache(tmp_path / "cache", 0, [])
    workspace = Workspace(tmp_path / "work", 1, "job")
    fetching = asyncio.create_task(Fetching(slow, cache, 100).fetch("http://host", "a", "x", workspace))
    await asyncio.wait_for(slow.begun.wait(), 20)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    workspace.close()


async def test_the_cache_is_kept_below_its_limit(tmp_path: Path, server: FileServer, fetcher: HttpFetcher) -> None:
    cached = Cached(tmp_path, server, fetcher, limit=2500)
    for index, name in enumerate("abcd"):
        server.files[f"/exercises/{name}"] = name.encode() * 1000
        await cached.fetch(name)
        os.utime(cached.directory / name, (index + 1.0, index + 1.0))
    assert cached.names() == ["c", "d"]
    (cached.directory / ".part-old").write_bytes(b"x")
    os.utime(cached.directory / ".part-old", (1, 1))
    (cached.directory / ".part-new").write_bytes(b"x" * 10_000)
    cached.cache.trim()
    assert ".part-old" not in cached.names()
    assert ".part-new" in cached.names()
    cached.workspace.close()
