import asyncio
import contextlib
import statistics
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.attention import attend
from crossdock.http.body import read_json
from crossdock.http.connection import Limits, address_group
from crossdock.http.handlers import EXCEPTION_HANDLERS
from crossdock.http.server import Server, ServerOptions, check_exposure, exposure_hint, new_event_loop
from crossdock.http.shield import Shield


class Events:
    def __init__(self):
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.release = asyncio.Event()


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def application(events, seen):
    async def echo(request):
        return JSONResponse((await read_json(request, 1000))[1])

    async def broken(_):
        raise ValueError("secret-canary")

    async def refused(_):
        raise CrossdockError(Code.CONFLICT, "not now")

    async def half(_):
        async def content():
            yield b"half"
            raise ValueError("secret-canary")

        return StreamingResponse(content())

    async def hang(_):
        events.entered.set()
        await events.release.wait()
        return PlainTextResponse("done")

    async def attentive(request):
        events.entered.set()
        ended = await attend(request, events.release.wait())
        events.left.set()
        return PlainTextResponse(str(ended))

    routes = [
        Route("/echo", echo, methods=["POST"]),
        Route("/page", lambda _: PlainTextResponse("page"), methods=["GET"]),
        Route("/broken", broken),
        Route("/refused", refused),
        Route("/half", half),
        Route("/hang", hang),
        Route("/attentive", attentive),
    ]
    app = Starlette(routes=routes, exception_handlers=dict(EXCEPTION_HANDLERS))
    return Shield(app, lambda *told: seen.append(told[:3]))


@contextlib.asynccontextmanager
async def serving(app, **limits):
    server = Server(app, ServerOptions(port=0, limits=Limits(**limits), stop_seconds=1))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def server(application):
    async with serving(application) as server:
        yield server


@pytest.fixture
async def client(server):
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


async def raw(server, data, read=True):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    try:
        return await reader.read() if read else b""
    finally:
        writer.close()


def is_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    return response.json()


async def test_unknown_route_and_wrong_method(client):
    is_problem(await client.get("/nothing"), 404)
    response = await client.get("/echo")
    is_problem(response, 405)
    assert response.headers["allow"] == "POST"


async def test_known_and_unknown_errors(client, capsys):
    assert is_problem(await client.get("/refused"), 409)["detail"] == "not now"
    response = await client.get("/broken")
    is_problem(response, 500)
    assert "canary" not in response.text
    assert "ValueError" in capsys.readouterr().out


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(client):
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/half")
    assert (await client.get("/page")).text == "page"


async def test_headers_that_make_answers_harmless(client):
    response = await client.post("/echo", json=[1])
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "server" not in response.headers


async def test_head(client):
    response = await client.head("/page")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "4")


async def test_answers_are_counted_by_route(client, seen):
    await client.get("/page")
    await client.get("/nowhere")
    await client.post("/echo", content=b"{")
    assert seen == [("GET", "/page", 200), ("GET", "unknown", 404), ("POST", "/echo", 415)]


async def test_a_body_beyond_the_limit_is_refused_and_the_connection_lives(client):
    headers = {"content-type": "application/json"}
    is_problem(await client.post("/echo", content=b" " * 5_000_000, headers=headers), 413)

    async def endless():
        for _ in range(50):
            yield b" " * 1000

    is_problem(await client.post("/echo", content=endless(), headers=headers), 413)
    assert (await client.get("/page")).text == "page"


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET /page HTTP/1.1\r\nhost : x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(range(256)) * 10,
    ],
)
async def test_bytes_that_are_not_http_get_400_and_do_no_harm(server, client, data):
    answer = await raw(server, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert (await client.get("/page")).text == "page"


async def test_a_slow_header_is_ended(application):
    async with serving(application, header_seconds=0.05) as server:
        assert (await raw(server, b"GET /page HTTP/1.1\r\nhost:")).startswith(b"HTTP/1.1 408 ")


async def test_a_header_that_drips_is_ended_all_the_same(application):
    async with serving(application, header_seconds=0.1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        started = time.monotonic()

        async def drip():
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)

        task = asyncio.create_task(drip())
        writer.write(b"GET /page HTTP/1.1\r\nx: ")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < 20
        task.cancel()
        writer.close()


async def test_who_connects_and_says_nothing_is_hung_up_on(application):
    async with serving(application, header_seconds=0.05) as server:
        assert await raw(server, b"") == b""
        assert await raw(server, b"\r\n") == b""


@pytest.mark.parametrize(("beginning", "answer"), [(b"GET /pa", b"HTTP/1.1 408 "), (b"\r\n", b"")])
async def test_a_second_request_on_a_connection_may_not_be_slow_either(application, beginning, answer):
    async with serving(application, header_seconds=0.1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"page")
        writer.write(beginning)
        assert (await reader.read())[:13] == answer
        writer.close()


async def test_a_header_timer_does_not_end_a_slow_handler(application, events):
    async with serving(application, header_seconds=0.05) as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = asyncio.create_task(client.get("/hang"))
        await events.entered.wait()
        await asyncio.sleep(0.15)
        events.release.set()
        assert (await answer).text == "done"


async def test_an_endless_header_is_refused(application):
    async with serving(application, header_bytes=1000) as server:
        assert (await raw(server, b"GET / HTTP/1.1\r\nx: " + b"y" * 5000)).startswith(b"HTTP/1.1 431 ")


async def test_a_header_that_was_refused_is_not_refused_for_its_slowness_too(application, caplog):
    async with serving(application, header_bytes=1000, header_seconds=0.05, linger_seconds=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 5000)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        with contextlib.suppress(ConnectionError):
            while True:  # until the server closes its half too
                writer.write(b"y")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
    assert not caplog.records


async def drip_until_answered(server, opening):
    """Send ``opening`` and then a byte as often as the loop turns, so that bytes are under way when the answer comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(opening)

    async def drip():
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()

    task = asyncio.create_task(drip())
    try:
        # Long enough that bytes meet a closed socket if there is one; a reset then drops what was not read yet.
        await asyncio.sleep(0.3)
        return await reader.read()
    finally:
        task.cancel()
        writer.close()


JSON_HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"


@pytest.mark.parametrize(
    ("opening", "status"),
    [(b"GET /page HTTP/1.1\r\nx: ", 431), (JSON_HEAD + b"content-length: 90000000\r\n\r\n", 413)],
)
async def test_the_answer_reaches_who_is_still_sending(application, opening, status):
    async with serving(application, header_bytes=100_000, linger_seconds=0.6) as server:
        assert (await drip_until_answered(server, opening)).startswith(b"HTTP/1.1 %d " % status)
        started = time.monotonic()
        await server.stop()
        assert time.monotonic() - started < 20


async def test_idle_connections_are_closed(application):
    async with serving(application, idle_seconds=0.05) as server:
        answer = await raw(server, b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.endswith(b"page")


async def test_connections_of_an_address_are_limited(application):
    async with serving(application, loopback_connections=3) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert (await raw(server, b"")).startswith(b"HTTP/1.1 429 ")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert b"page" in await raw(server, b"GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")


def test_what_counts_as_one_sender():
    assert address_group("192.0.2.7") == "192.0.2.7"
    assert address_group("::ffff:192.0.2.7") == "192.0.2.7"
    assert address_group("2001:db8::1") == address_group("2001:db8::ffff:2") == "2001:db8::/64"
    assert address_group("2001:db8:0:1::1") != address_group("2001:db8::1")
    assert address_group("127.0.0.9") == address_group("::1") == "loopback"


async def test_stopping_answers_what_is_under_way(application, events):
    async with serving(application) as server, httpx.AsyncClient(base_url=server.url) as client:
        hanging = asyncio.create_task(client.get("/hang"))
        await events.entered.wait()
        await server.stop()
        is_problem(await hanging, 503)
        with pytest.raises(httpx.ConnectError):
            await client.get("/page")
        await server.stop()


async def test_stopping_does_not_wait_for_who_only_waits(application, events):
    async with serving(application) as server, httpx.AsyncClient(base_url=server.url) as client:
        waiting = asyncio.create_task(client.get("/attentive"))
        await events.entered.wait()
        await server.stop()
        assert (await waiting).text == "None"


async def test_a_client_that_goes_away_is_not_waited_for(server, events):
    await raw(server, b"GET /attentive HTTP/1.1\r\nhost: x\r\n\r\n", read=False)
    await events.entered.wait()
    await asyncio.wait_for(events.left.wait(), 5)


async def test_an_address_that_is_taken(server, application):
    second = Server(application, ServerOptions(port=server.port))
    with pytest.raises(CrossdockError, match="cannot listen") as caught:
        await second.start()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_certificate_that_is_none(application, tmp_path):
    (tmp_path / "cert.pem").write_text("no certificate")
    options = ServerOptions(port=0, certificate=tmp_path / "cert.pem", private_key=tmp_path / "cert.pem")
    with pytest.raises(CrossdockError, match="certificate") as caught:
        await Server(application, options).start()
    assert caught.value.code is Code.INVALID


async def test_answers_leave_at_once(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n"
    took = []
    for _ in range(21):
        started = time.monotonic()
        writer.write(request)
        await reader.readuntil(b"page")
        took.append(time.monotonic() - started)
    # With Nagle's algorithm and delayed acknowledgements it would be 40 ms each; a machine that stalls stalls few of them.
    assert statistics.median(took) < 0.02
    writer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_keys(host):
    check_exposure(host, keys=False)
    assert exposure_hint(host, tls=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_beyond_loopback_keys_are_needed(host):
    with pytest.raises(CrossdockError, match=r"\[\[security.keys\]\]"):
        check_exposure(host, keys=False)
    check_exposure(host, keys=True)
    check_exposure(host, keys=False, public=True)
    assert "TLS" in exposure_hint(host, tls=False)
    assert exposure_hint(host, tls=True) is None


def test_the_loop_works():
    loop = new_event_loop()
    assert loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
    loop.close()
