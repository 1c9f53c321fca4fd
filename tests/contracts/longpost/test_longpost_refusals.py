"""What the frontend refuses, and how: HTTP's part of the protocol page."""

import asyncio
import hashlib

import pytest

from crossdock.http.auth import ApiKey, Scope
from crossdock.protocols.longpost import LongpostOptions

JSON = {"content-type": "application/json"}
START = b'{"action":"start","payload":{"a":1}}'
DEEP = b"[" * 100_000 + b"]" * 100_000


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.headers["cache-control"] == "no-store"
    return response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"[]",
        b'"start"',
        b"{}",
        b'{"action":null}',
        b'{"action":5}',
        b'{"action":"Start"}',
        b'{"action":"run"}',
        b'{"action":"get"}',
        b'{"action":"stop"}',
        b'{"action":"cargo"}',
        b'{"action":"get","token":null}',
        b'{"action":"stop","token":null}',
        b'{"action":"get","token":[1]}',
        b'{"action":"get","token":{}}',
        b'{"action":"start","payload":NaN}',
        b'{"action":"start","payload":1e999}',
        b'{"action":"start","payload":{"a":1,"a":2}}',
        b'{"action":"start","payload":"\\ud800 half"}',
        b'{"action":"start","payload":' + b"9" * 5000 + b"}",
        b'{"action":"start","payload":' + DEEP + b"}",
        DEEP,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_malformed_bodies_are_400(place, body):
    detail = problem(await place.client.post("/longpost/echo", content=body, headers=JSON), 400)
    assert detail


async def test_a_payload_that_does_not_fit_the_kind_is_400(place):
    assert "width" in problem(await place.post("typed", action="start", payload={}), 400)
    assert (await place.start("typed", {"width": 1}))["done"]


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"],
)
async def test_media_types_that_are_json(place, media_type):
    response = await place.client.post("/longpost/echo", content=START, headers={"content-type": media_type})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "json", ""],
)
async def test_other_media_types_are_415(place, media_type):
    response = await place.client.post("/longpost/echo", content=b"action=start", headers={"content-type": media_type})
    problem(response, 415)


async def test_no_media_type_and_compressed_bodies_are_415(place):
    problem(await place.client.post("/longpost/echo", content=START), 415)
    problem(await place.client.post("/longpost/echo", content=START, headers=JSON | {"content-encoding": "gzip"}), 415)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405(place, method):
    response = await place.client.request(method, "/longpost/echo")
    problem(response, 405)
    assert response.headers["allow"] == "POST, OPTIONS"


async def test_head_is_405_without_a_body(place):
    response = await place.client.head("/longpost/echo")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST, OPTIONS", b"")


@pytest.mark.parametrize(
    "path", ["/longpost/nothing", "/longpost/echo/below", "/longpost", "/longpost/", "/longpost/e%00cho"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_unknown_places_are_404(place, method, path):
    problem(await place.client.request(method, path, content=START, headers=JSON), 404)


@pytest.mark.parametrize(
    "path", ["/longpost/echo/", "/longpost/echo?a=b", "/longpost/echo/?action=stop", "/longpost/%65cho"]
)
async def test_a_slash_and_a_query_change_nothing(place, path):
    response = await place.client.post(path, content=START, headers=JSON)
    assert response.status_code == 200
    assert response.json()["result"] == '{"a":1}'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
async def test_marks_and_wide_encodings_are_understood(place, encoding):
    body = '{"action":"start","payload":"ä"}'.encode(encoding)
    response = await place.client.post("/longpost/echo", content=body, headers=JSON)
    assert response.json()["result"] == '"\\u00e4"'


async def test_answers_are_json_in_ascii_that_nobody_keeps(place):
    response = await place.post("echo", action="start", payload="ä😀")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    assert response.content.isascii()
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_chunked_bodies_are_taken(place):
    async def body():
        yield START[:10]
        yield START[10:]

    response = await place.client.post("/longpost/echo", content=body(), headers=JSON)
    assert response.json()["result"] == '{"a":1}'


async def test_options_without_cors(place):
    response = await place.client.options("/longpost/echo", headers={"origin": "https://page.example"})
    assert (response.status_code, response.headers["allow"]) == (204, "POST, OPTIONS")
    assert not [name for name in response.headers if name.startswith("access-control")]


class TestLimits:
    @pytest.fixture
    def options(self):
        return LongpostOptions(max_body=1000, misses_per_minute=10, breaker=1e9)

    async def test_large_bodies_are_413(self, place):
        problem(await place.post("echo", action="start", payload="x" * 2000), 413)

    @pytest.mark.parametrize("action", ["get", "cargo"])
    async def test_the_eleventh_miss_in_a_minute_is_429(self, place, action):
        held = (await place.start("held", {}))["token"]
        for number in range(10):
            response = await place.post("held", action=action, token=str(number))
            assert response.status_code == (200 if action == "get" else 404)
        response = await place.post("held", action=action, token="10")
        problem(response, 429)
        assert 1 <= int(response.headers["retry-after"]) <= 60
        problem(await place.post("held", action="get", token=held), 429)
        assert (await place.ask("held", action="stop", token="11"))["done"]
        assert (await place.start("echo", 1))["done"]
        place.clock.shift = 61
        assert (await place.ask("held", action="get", token=held))["continue"]

    async def test_stop_never_counts(self, place):
        for number in range(20):
            assert (await place.ask("held", action="stop", token=str(number)))["done"]
        assert not (await place.ask("held", action="get", token="1"))["done"]


class TestBreaker:
    @pytest.fixture
    def options(self):
        return LongpostOptions(misses_per_minute=1000, breaker=5)

    async def test_many_misses_at_once_close_the_door_for_a_second(self, place):
        await asyncio.gather(*[place.post("echo", action="get", token=str(number)) for number in range(5)])
        response = await place.post("echo", action="get", token="6")
        problem(response, 429)
        assert response.headers["retry-after"] == "1"
        place.clock.shift = 2
        assert not (await place.ask("echo", action="get", token="6"))["done"]


@pytest.mark.parametrize("origins", [("*",), ("https://page.example", "https://other.example")])
class TestOrigins:
    @pytest.fixture
    def options(self, origins):
        return LongpostOptions(origins=origins)

    async def test_every_answer_allows_the_origin(self, place, origins):
        headers = JSON | {"origin": "https://page.example"}
        for path, content, status in [
            ("echo", START, 200),
            ("echo", b"{", 400),
            ("nothing", START, 404),
            ("echo/x", START, 404),
        ]:
            response = await place.client.post(f"/longpost/{path}", content=content, headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] in ("*", "https://page.example")
            assert "access-control-allow-credentials" not in response.headers
            assert origins == ("*",) or response.headers["vary"] == "origin"

    @pytest.mark.parametrize("path", ["/longpost/echo", "/longpost/echo/", "/longpost/nothing"])
    async def test_preflight(self, place, origins, path):
        headers = {
            "origin": "https://page.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        response = await place.client.options(path, headers=headers)
        assert response.status_code == 204
        assert "POST" in response.headers["access-control-allow-methods"]
        assert "content-type" in response.headers["access-control-allow-headers"]
        assert response.headers["access-control-allow-origin"] in ("*", "https://page.example")

    async def test_other_origins_learn_nothing(self, place, origins):
        headers = JSON | {"origin": "https://evil.example"}
        response = await place.client.options("/longpost/echo", headers=headers)
        assert response.headers.get("access-control-allow-origin") == ("*" if origins == ("*",) else None)
        response = await place.client.post("/longpost/echo", content=START, headers=headers)
        assert response.headers.get("access-control-allow-origin") == ("*" if origins == ("*",) else None)


def key(name: str, *scopes: Scope) -> ApiKey:
    return ApiKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), scopes=frozenset(scopes), tenant=name)


class TestKeys:
    @pytest.fixture
    def keys(self):
        own = (Scope.SUBMIT, Scope.READ_OWN)
        return (
            key("ann", *own),
            key("bob", *own),
            key("reader", Scope.READ_OWN),
            key("submitter", Scope.SUBMIT),
            key("worker", Scope.WORK),
        )

    async def send(self, place, name, kind, **message):
        headers = {} if name is None else {"authorization": f"Bearer {name}"}
        return await place.client.post(f"/longpost/{kind}", json=message, headers=headers)

    async def test_a_key_is_needed(self, place):
        for name in (None, "nobody"):
            response = await self.send(place, name, "echo", action="start")
            problem(response, 401)
            assert response.headers["www-authenticate"].startswith("Bearer")

    async def test_public_kinds_need_none(self, place):
        assert (await self.send(place, None, "open", action="start", payload=1)).json()["result"] == "1"
        problem(await self.send(place, "nobody", "open", action="start"), 401)

    async def test_a_task_belongs_to_the_tenant_that_started_it(self, place):
        token = (await self.send(place, "ann", "held", action="start")).json()["token"]
        for action in ("stop", "get"):
            answer = (await self.send(place, "bob", "held", action=action, token=token)).json()
            assert answer["continue"] is False
        assert (await self.send(place, "ann", "held", action="get", token=token)).json()["continue"] is True
        await place.finish("held", token)
        assert (await self.send(place, "bob", "held", action="get", token=token)).json()["done"] is False
        assert (await self.send(place, "ann", "held", action="get", token=token)).json()["result"] == "{}"

    async def test_scopes(self, place):
        problem(await self.send(place, "reader", "echo", action="start"), 403)
        problem(await self.send(place, "worker", "echo", action="start"), 403)
        problem(await self.send(place, "worker", "echo", action="get", token="1"), 403)
        assert (await self.send(place, "submitter", "echo", action="start")).status_code == 200
        assert (await self.send(place, "submitter", "echo", action="get", token="1")).status_code == 200
        assert (await self.send(place, "reader", "echo", action="get", token="1")).status_code == 200


class TestForeignCargo:
    @pytest.fixture
    def keys(self):
        own = (Scope.SUBMIT, Scope.READ_OWN)
        return (key("ann", *own), key("bob", *own))

    @pytest.fixture
    def options(self):
        return LongpostOptions(chunk=100)

    async def test_cargo_belongs_to_the_tenant_too(self, place):
        ann, bob = ({"authorization": f"Bearer {name}"} for name in ("ann", "bob"))
        start = {"action": "start", "payload": ["x", 150]}
        tokens = (await place.client.post("/longpost/big", json=start, headers=ann)).json()["result"]
        cargo = {"action": "cargo", "token": tokens[0]}
        assert (await place.client.post("/longpost/big", json=cargo, headers=bob)).status_code == 404
        assert (await place.client.post("/longpost/big", json=cargo, headers=ann)).status_code == 200


class TestPublic:
    @pytest.fixture
    def keys(self):
        return (key("ann", Scope.SUBMIT, Scope.READ_OWN),)

    @pytest.fixture
    def options(self):
        return LongpostOptions(public=True)

    async def test_everybody_may_start_everything(self, place):
        assert (await place.start("echo", 1))["result"] == "1"
