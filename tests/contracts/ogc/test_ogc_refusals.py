"""Bad input on every route: a clear 4xx each time, and a server that goes on serving."""

import asyncio
import json

import pytest

from crossdock.http.connection import Limits

JSON = {"content-type": "application/json"}
DIGEST = "0" * 64

BODIES = [
    ("POST", "/processes/add/execution"),
    ("POST", "/batches"),
    ("POST", "/workers"),
    ("POST", "/workers/w/claim"),
    ("POST", "/workers/w/renew"),
    ("POST", "/leases/1/notes"),
    ("POST", "/leases/1/report"),
    ("POST", "/leases/1/members"),
]

ROUTES = [
    *BODIES,
    ("GET", "/"),
    ("GET", "/api"),
    ("GET", "/conformance"),
    ("GET", "/processes"),
    ("GET", "/processes/add"),
    ("GET", "/jobs"),
    ("GET", "/jobs/0000000000000"),
    ("DELETE", "/jobs/0000000000000"),
    ("GET", "/jobs/0000000000000/results"),
    ("GET", "/jobs/0000000000000/events"),
    ("GET", "/jobs/0000000000000/members"),
    ("POST", "/jobs/0000000000000/retry"),
    ("GET", "/batches/0000000000000"),
    ("DELETE", "/batches/0000000000000"),
    ("GET", "/workers"),
    ("DELETE", "/workers/w"),
    ("POST", "/workers/w/drain"),
    ("POST", "/artifacts"),
    ("PUT", f"/artifacts/{DIGEST}"),
    ("GET", f"/artifacts/{DIGEST}"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


@pytest.fixture
def broker(memory_broker):
    """What is refused never reaches a store, so one will do."""
    return memory_broker


@pytest.fixture(autouse=True)
async def still_serving(http):
    """After every test here, a job must still be accepted."""
    yield
    response = await http.post("/processes/add/execution", json={"inputs": {"a": 1}}, headers={"prefer": "respond-async"})
    assert response.status_code == 201


def is_problem(response, *statuses):
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["detail"]
    assert problem["code"]
    assert len(problem["detail"]) < 500
    return problem["detail"]


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 1}',
        rb'{"a": "\ud800"}',
        b"[" * 50_000,
        b'{"a":' * 101 + b"1" + b"}" * 101,
        b"9" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b'{"none": 1, "jobs": 1, "worker": 1, "limit": "x", "tokens": "x", "progress": 1, "kind": 1, "outcomes": 1}',
    ],
)
async def test_bodies_that_are_no_request(http, method, path, body):
    is_problem(await http.request(method, path, content=body, headers=JSON), 400)


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_bodies_that_are_not_declared_as_json(http, method, path):
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        is_problem(await http.request(method, path, content=b"{}", headers=headers), 415)
    is_problem(await http.request(method, path, content=b"{}", headers={**JSON, "content-encoding": "gzip"}), 415)


@pytest.mark.parametrize(("method", "path"), [*BODIES, ("POST", "/artifacts"), ("PUT", f"/artifacts/{DIGEST}")])
async def test_oversized_bodies(http, method, path):
    size = 1_000_001 if "artifacts" in path else 100_001

    async def chunks():
        for _ in range(11):
            yield b" " * (size // 10)

    is_problem(await http.request(method, path, content=b" " * size, headers=JSON), 413)
    is_problem(await http.request(method, path, content=chunks(), headers=JSON), 413)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_wrong_methods(http, method, path):
    allowed = {known for known, other in ROUTES if other == path}
    for wrong in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - allowed:
        response = await http.request(wrong, path)
        is_problem(response, 405)
        assert set(response.headers["allow"].split(", ")) - {"HEAD"} == allowed
    assert method in allowed


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/jobs/",
        "/jobs/x/y",
        "/processes/",
        "/..%2f..%2fetc/passwd",
        "/api/",
        "/%00",
        "/" + "x" * 10_000,
        "/artifacts/../jobs/x",
        "/processes/%ff",
        "/leases/1",
    ],
)
async def test_paths_that_lead_nowhere(http, path):
    is_problem(await http.get(path), 404, 405)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": 1}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"input": {}}, "input"),
        ({"response": "xml"}, "response"),
        ({"mode": "later"}, "mode"),
        ({"outputs": []}, "outputs"),
        ({"outputs": {"nope": {}}}, "nope"),
        ({"crossdock": {"delay": -1}}, "delay"),
        ({"crossdock": {"requires": {"": "x"}}}, "requires"),
        ({"crossdock": {"requires": {"gpu": 1}}}, "requires"),
        ({"subscriber": "http://x"}, "subscriber"),
        ({"subscriber": {"successUri": 1}}, "successUri"),
        ({"subscriber": {"successUri": "ftp://x/"}}, "successUri"),
        ({"subscriber": {"successUri": "http://u:p@x/"}}, "successUri"),
        ({"subscriber": {"failedUri": "http://"}}, "failedUri"),
        ({"subscriber": {"failedUri": "http://[/"}}, "failedUri"),
        ({"subscriber": {"failedUri": "http://x:99999/"}}, "failedUri"),
        ({"subscriber": {"failedUri": "http://x/\r\nhost: y"}}, "failedUri"),
        ({"subscriber": {"other": "http://x"}}, "other"),
        ({"crossdock": {"color": 1}}, "color"),
        ({"crossdock": {"priority": "high"}}, "priority"),
        ({"crossdock": {"priority": 1.5}}, "priority"),
        ({"crossdock": {"priority": 10**9}}, "priority"),
        ({"crossdock": {"tenant": 1}}, "tenant"),
        ({"crossdock": {"not_before": "tomorrow"}}, "not_before"),
        ({"crossdock": {"not_before": []}}, "not_before"),
        ({"crossdock": {"after": "x"}}, "after"),
        ({"crossdock": {"after": ["x"]}}, "after"),
        ({"crossdock": {"after": ["0000000000000"]}}, "0000000000000"),
        ({"crossdock": {"array": 1}}, "array"),
        ({"crossdock": {"array": {}}}, "array"),
        ({"crossdock": {"array": {"stop": 0}}}, "no members"),
        ({"crossdock": {"array": {"stop": 5, "step": 0}}}, "step"),
        ({"crossdock": {"array": {"stop": 5, "step": -1}}}, "no members"),
        ({"crossdock": {"array": {"stop": 2**53 + 1}}}, "stop"),
        ({"crossdock": {"array": {"stop": 2**53, "start": -(2**53)}}}, "members"),
        ({"crossdock": {"array": {"stop": 5, "table": [{}]}}}, "either"),
        ({"crossdock": {"array": {"table": []}}}, "no rows"),
        ({"crossdock": {"array": {"table": [1]}}}, "table"),
        ({"crossdock": {"array": {"table": {}}}}, "table"),
        ({"crossdock": {"array": {"stop": 5, "as": ""}}}, "as"),
    ],
)
async def test_requests_that_name_what_is_wrong(http, body, words):
    body = {"inputs": {"a": 1}, **body}
    response = await http.post("/processes/add/execution", json=body, headers={"prefer": "respond-async"})
    assert words in is_problem(response, 400, 404)


async def test_inputs_that_the_kind_refuses(http):
    for inputs, words in [({"a": "x", "b": 1}, "a: an integer"), ({}, "a: an integer")]:
        response = await http.post("/processes/checked/execution", json={"inputs": inputs})
        assert words in is_problem(response, 400)


@pytest.mark.parametrize("inputs", [{}, {"payload": 1, "more": 2}, {"other": 1}])
async def test_inputs_of_a_raw_kind(http, inputs):
    assert "payload" in is_problem(await http.post("/processes/echo/execution", json={"inputs": inputs}), 400)


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_idempotency_keys_that_are_none(http, key):
    response = await http.post("/processes/add/execution", json={"inputs": {"a": 1}}, headers={"idempotency-key": key})
    assert "idempotency key" in is_problem(response, 400)


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "wait=1e9", "wait=" + "9" * 400, ";;,,=", "\x80".encode()])
async def test_preferences_that_make_no_sense_are_ignored(http, prefer):
    answer = http.post("/processes/checked/execution", json={"inputs": {}}, headers={"prefer": prefer})
    assert "a: an integer" in is_problem(await answer, 400)


@pytest.mark.parametrize("token", ["0", "x", "-1", "1.5", str(2**63), "9" * 3000, "1"])
async def test_leases_that_do_not_exist(http, token):
    report = {"kind": "succeeded", "result": "MQ=="}
    response = await http.post(f"/leases/{token}/report", json=report)
    if token in ("0", "1"):
        assert response.json()["late"] is True
        assert (await http.post(f"/leases/{token}/notes", json={"log": "x"})).status_code == 204
    else:
        is_problem(response, 404)


@pytest.mark.parametrize("result", ["bm9uc2Vuc2U=", "TmFO", "///", 5, "e30gbW9yZQ=="])
async def test_results_that_are_no_json(http, result):
    is_problem(await http.post("/leases/1/report", json={"kind": "succeeded", "result": result}), 400)
    outcomes = [{"index": 0, "outcome": {"kind": "succeeded", "result": result}}]
    is_problem(await http.post("/leases/1/members", json={"outcomes": outcomes}), 400)


@pytest.mark.parametrize("worker", ["local/x", "", "x" * 201, "a\nb", "a/b"])
async def test_workers_that_may_not_be(http, worker):
    is_problem(await http.post("/workers", json={"worker": {"id": worker}}), 400)


async def test_workers_inside_the_server_are_not_for_others(http, hands):
    for worker in ("local/hands", "local%2Fhands"):
        is_problem(await http.post(f"/workers/{worker}/claim", json={}), 400, 404)
        is_problem(await http.post(f"/workers/{worker}/renew", json={"tokens": []}), 400, 404)
        is_problem(await http.delete(f"/workers/{worker}"), 400, 404)
    assert [worker["id"] for worker in (await http.get("/workers")).json()["workers"]] == ["local/hands"]


async def test_claims_of_workers_that_are_not_attached(http):
    is_problem(await http.post("/workers/nobody/claim", json={"limit": 1}), 404)
    is_problem(await http.post("/workers/nobody/renew", json={"tokens": []}), 404)
    for claim in ({"limit": 0}, {"limit": 10**9}, {"wait": 21}, {"wait": -1}, {"wait": "x"}):
        is_problem(await http.post("/workers/nobody/claim", json=claim), 400)


async def test_artifacts_that_do_not_exist(http):
    is_problem(await http.get(f"/artifacts/{DIGEST}?size=5"), 404)
    is_problem(await http.get(f"/artifacts/{DIGEST}?size=0"), 404)
    for digest in ("x", "0" * 63, "G" * 64, "%2e%2e%2f" + "0" * 58):
        is_problem(await http.get(f"/artifacts/{digest}?size=5"), 404)
    for size in ("", "-1", "x", str(2**60)):
        assert "size" in is_problem(await http.get(f"/artifacts/{DIGEST}?size={size}"), 400)
    is_problem(await http.get(f"/artifacts/{DIGEST}"), 400)


async def test_an_artifact_under_a_wrong_name(http):
    is_problem(await http.put(f"/artifacts/{DIGEST}", content=b"something"), 400)
    is_problem(await http.put("/artifacts/x", content=b"something"), 404)


@pytest.mark.parametrize("value", ["x", "bytes=5-2", "bytes=9-", "bytes=0-1,3-4", "bytes=-1", "items=0-1"])
async def test_ranges_outside(http, value):
    ref = (await http.post("/artifacts", content=b"12345")).json()
    response = await http.get(f"/artifacts/{ref['digest']}?size=5", headers={"range": value})
    is_problem(response, 416)
    assert response.headers["content-range"] == "bytes */5"


async def test_a_slow_header(serve):
    server = await serve(limits=Limits(header_seconds=0.05))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /processes/add/execution HTTP/1.1\r\nhost: x\r\ncontent-")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 408
    writer.close()
