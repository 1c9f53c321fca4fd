"""The standard's core: what is here, running a process, status, results, dismissing."""

import asyncio
import json
import re

import pytest

from crossdock.core.identifiers import decode_id
from crossdock.core.jobs import ArtifactRef, Outcome, OutcomeKind

EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
JSON = {"content-type": "application/json"}


def is_problem(response, status, words="", kind=None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert words in problem["detail"]
    if kind is not None:
        assert problem["type"] == EXCEPTIONS + kind
    return problem


async def test_landing_page_links_to_everything(http):
    page = (await http.get("/")).json()
    for link in page["links"]:
        assert (await http.get(link["href"])).status_code == 200, link
    rels = {link["rel"] for link in page["links"]}
    assert {"self", "service-desc", "conformance"} <= rels


async def test_landing_page_for_browsers_loads_nothing_and_escapes(http, submit, hands):
    await submit()
    await hands.fail(message="<script>alert(1)</script>")
    response = await http.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "Addition" in response.text
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text
    assert "//" not in response.text.replace("<!doctype", "")


async def test_conformance(http):
    classes = (await http.get("/conformance")).json()["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in classes
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/dismiss" in classes


async def test_processes_in_pages(http):
    first = (await http.get("/processes?limit=2")).json()
    assert [process["id"] for process in first["processes"]] == ["add", "checked"]
    [following] = [link["href"] for link in first["links"] if link["rel"] == "next"]
    second = (await http.get(following)).json()
    assert [process["id"] for process in second["processes"]] == ["echo"]
    assert not [link for link in second["links"] if link["rel"] == "next"]


async def test_process_description(http):
    process = (await http.get("/processes/add")).json()
    assert process["title"] == "Addition"
    assert process["jobControlOptions"] == ["sync-execute", "async-execute", "dismiss"]
    assert process["inputs"]["a"]["schema"]["type"] == "integer"
    assert process["inputs"]["a"]["title"] == "first"
    assert process["inputs"]["b"]["minOccurs"] == 0
    assert process["outputs"]["result"]["schema"] == {"type": "integer"}
    raw = (await http.get("/processes/echo")).json()
    assert list(raw["inputs"]) == ["payload"]
    assert raw["crossdock"] == {"raw": True}


async def test_unknown_process(http):
    is_problem(await http.get("/processes/none"), 404, "'none'", "no-such-process")
    answer = await http.post("/processes/none/execution", json={})
    is_problem(answer, 404, "'none'", "no-such-process")


async def test_sync_is_the_default(http, hands):
    answer = asyncio.create_task(http.post("/processes/add/execution", json={"inputs": {"a": 1, "b": 2}}))
    lease = await hands.succeed(3)
    assert lease.payload == b'{"a":1,"b":2}'
    response = await answer
    assert (response.status_code, response.json()) == (200, {"result": 3})
    assert 'rel="monitor"' in response.headers["link"]


async def test_raw_response_is_the_value_alone(http, hands):
    answer = asyncio.create_task(http.post("/processes/add/execution", json={"inputs": {"a": 1}, "response": "raw"}))
    await hands.succeed([1])
    assert (await answer).json() == [1]


async def test_a_failed_sync_job_is_an_exception(http, hands):
    answer = asyncio.create_task(http.post("/processes/add/execution", json={"inputs": {"a": 1}}))
    await hands.fail("boom", "it broke")
    problem = is_problem(await answer, 500, "it broke")
    assert problem["job"]["code"] == "boom"


async def test_async(http, hands):
    body = {"inputs": {"a": 1}}
    response = await http.post("/processes/add/execution", json=body, headers={"prefer": "respond-async"})
    assert response.status_code == 201
    assert response.headers["preference-applied"] == "respond-async"
    status = response.json()
    assert response.headers["location"].endswith(f"/jobs/{status['jobID']}")
    assert (status["status"], status["type"], status["processID"]) == ("accepted", "process", "add")

    url = response.headers["location"]
    is_problem(await http.get(f"{url}/results"), 404, "not ended", "result-not-ready")
    lease = await hands.take()
    await hands.progress(lease, 1, 4, "a quarter")
    status = (await http.get(url)).json()
    assert (status["status"], status["progress"], status["message"]) == ("running", 25, "a quarter")
    assert status["started"] >= status["created"]
    await hands.succeed(7, lease)
    status = (await http.get(url)).json()
    assert (status["status"], status["progress"]) == ("successful", 100)
    [results] = [link["href"] for link in status["links"] if link["rel"].endswith("/results")]
    assert (await http.get(results)).json() == {"result": 7}


async def test_wait_falls_back_to_async(http, hands):
    body = {"inputs": {"a": 1}}
    response = await http.post("/processes/add/execution", json=body, headers={"prefer": "wait=0"})
    assert (response.status_code, response.headers["preference-applied"]) == (201, "wait=0")
    answer = http.post("/processes/add/execution", json=body, headers={"prefer": "respond-async, wait=10"})
    task = asyncio.create_task(answer)
    await hands.succeed(1)
    await hands.succeed(2)
    assert (await task).json() == {"result": 2}


async def test_sync_ends_at_the_servers_limit(serve, http):
    server = await serve(sync_seconds=0.01)
    response = await http.post(f"{server.url}/processes/add/execution", json={"inputs": {"a": 1}})
    assert response.status_code == 201
    assert response.json()["status"] == "accepted"


async def test_a_sync_job_outlives_its_client(http, hands, server):
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = b'{"inputs":{"a":1}}'
    head = (
        b"POST /processes/add/execution HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    writer.write(head % len(body) + body)
    lease = await hands.take()
    writer.close()
    await hands.succeed(1, lease)
    [job] = (await http.get("/jobs")).json()["jobs"]
    assert job["status"] == "successful"


async def test_stopping_tells_a_sync_client_where_its_job_is(serve, http, hands):
    server = await serve()
    answer = asyncio.create_task(http.post(f"{server.url}/processes/add/execution", json={"inputs": {"a": 1}}))
    await hands.take()
    await server.stop()
    response = await answer
    assert response.status_code == 201
    assert response.json()["status"] == "running"


async def test_any_json_value_is_a_payload_of_a_raw_kind(http, hands, submit):
    for value in (None, False, 0, "", [], {"payload": 1}, {"a": {"value": 1}}, "ü😀", 12345678901234567890123, 1.0):
        job = await submit("echo", {"payload": value})
        lease = await hands.take()
        await hands.succeed(lease=lease, value=[1])
        assert (await http.get(f"/jobs/{job}")).json()["status"] == "successful"
        if value == 12345678901234567890123:
            assert lease.payload == b"12345678901234567890123"


async def test_values_that_are_wrapped_as_the_standard_says(hands, submit):
    await submit("add", {"a": {"value": 5}, "options": {"value": {"x": 1}, "mediaType": "application/json"}})
    assert (await hands.succeed()).payload == b'{"a":5,"options":{"x":1}}'
    await submit("add", {"a": 5, "options": {"value": 3}})
    assert (await hands.succeed()).payload == b'{"a":5,"options":{"value":3}}'


async def test_large_payloads_and_results_are_streamed(broker, http, hands, submit):
    text = "x" * 90_000
    job = await submit("echo", {"payload": text})
    lease = await hands.take()
    assert isinstance(lease.payload, ArtifactRef)
    await hands.succeed("y" * 3_000_000, lease)
    assert isinstance((await broker.intake.job(decode_id(job))).result, ArtifactRef)
    response = await http.get(f"/jobs/{job}/results")
    assert response.json() == {"result": "y" * 3_000_000}


async def test_the_code_of_a_failed_job_can_be_a_status(http, hands, submit):
    job = await submit()
    await hands.fail("422", "no such town")
    problem = is_problem(await http.get(f"/jobs/{job}/results"), 422, "no such town")
    assert problem["type"] == "urn:crossdock:job-failed:422"
    status = (await http.get(f"/jobs/{job}")).json()
    assert (status["status"], status["message"], status["crossdock"]["code"]) == ("failed", "no such town", "422")


@pytest.mark.parametrize("code", ["200", "399", "600", "4222", "abc", "", "٤٠٤"])
async def test_other_codes_are_500(http, hands, submit, code):
    job = await submit()
    await hands.fail(code)
    is_problem(await http.get(f"/jobs/{job}/results"), 500)


async def test_dismissing_a_waiting_job_twice(http, submit):
    job = await submit()
    for _ in range(2):
        response = await http.delete(f"/jobs/{job}")
        assert (response.status_code, response.json()["status"]) == (200, "dismissed")
    is_problem(await http.get(f"/jobs/{job}/results"), 410, "dismissed")


async def test_dismissing_a_running_job_asks_it_to_stop(broker, http, hands, submit):
    job = await submit()
    lease = await hands.take()
    response = await http.delete(f"/jobs/{job}")
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert response.json()["crossdock"]["cancelRequested"] is True
    assert response.json()["message"] == "asked to stop"
    assert (await broker.dispatch.renew("local/hands", [lease.token])).cancelled == (lease.token,)
    await broker.dispatch.report(lease.token, Outcome(kind=OutcomeKind.CANCELLED))
    assert (await http.get(f"/jobs/{job}")).json()["status"] == "dismissed"


async def test_dismissing_hard_does_not_ask(http, hands, submit):
    job = await submit()
    await hands.take()
    assert (await http.delete(f"/jobs/{job}?mode=hard")).json()["status"] == "dismissed"


async def test_dismissing_what_has_ended_changes_nothing(http, hands, submit):
    job = await submit()
    await hands.succeed(1)
    assert (await http.delete(f"/jobs/{job}")).json()["status"] == "successful"
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": 1}


@pytest.mark.parametrize("path", ["", "/results", "/events", "/members"])
@pytest.mark.parametrize(
    "job", ["nothing", "0000000000000", "zzzzzzzzzzzzz", "9" * 5000, "0000000000000.7", "a.b", "%00", "1."]
)
async def test_jobs_that_do_not_exist(http, path, job):
    is_problem(await http.get(f"/jobs/{job}{path}"), 404)
    if not path:
        is_problem(await http.delete(f"/jobs/{job}"), 404)
        is_problem(await http.post(f"/jobs/{job}/retry"), 404)


async def test_an_idempotency_key(http, hands):
    async def send(key):
        headers = {"prefer": "respond-async", "idempotency-key": key}
        return await http.post("/processes/add/execution", json={"inputs": {"a": 1}}, headers=headers)

    first = (await send("k")).json()["jobID"]
    assert (await send("k")).json()["jobID"] == first
    assert (await send("other")).json()["jobID"] != first
    await hands.succeed(1)
    again = await send("k")
    assert (again.status_code, again.json()["jobID"], again.json()["status"]) == (201, first, "successful")
    answer = await http.post("/processes/add/execution", json={"inputs": {"a": 1}}, headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()) == (200, {"result": 1})


async def test_options(http, submit, hands):
    first = await submit()
    second = await submit(crossdock={"after": [first]})
    third = await submit(crossdock={"not_before": "2999-01-01T00:00:00Z"})
    urgent = await submit(inputs={"a": 9}, crossdock={"priority": 5, "tenant": "t"})
    states = {job: (await http.get(f"/jobs/{job}")).json()["crossdock"]["state"] for job in (first, second, third)}
    assert states == {first: "ready", second: "waiting", third: "waiting"}
    assert (await http.get(f"/jobs/{urgent}")).json()["crossdock"]["tenant"] == "t"
    assert (await hands.succeed()).payload == b'{"a":9}'
    assert "wait" in (await http.get(f"/jobs/{third}")).json()["crossdock"]["why"]


async def test_retry(http, hands, submit):
    job = await submit(inputs={"a": 5})
    is_problem(await http.post(f"/jobs/{job}/retry"), 409)
    await hands.fail()
    response = await http.post(f"/jobs/{job}/retry")
    assert response.status_code == 201
    again = response.json()
    assert again["crossdock"]["retryOf"] == job
    assert response.headers["location"].endswith(again["jobID"])
    assert (await hands.succeed(1)).payload == b'{"a":5}'
    assert (await http.get(f"/jobs/{job}")).json()["status"] == "failed"


async def test_health_readiness_and_metrics(broker, http, hands, submit):
    assert (await http.get("/healthz")).json() == {"status": "alive"}
    assert (await http.get("/readyz")).json() == {"status": "ready"}
    await submit()
    await submit("echo", {"payload": 1})
    await hands.take()
    text = (await http.get("/metrics")).text
    assert 'crossdock_jobs_queued{kind="echo"} 1.0' in text
    assert 'crossdock_jobs_running{kind="add"} 1.0' in text
    assert "crossdock_slots 100.0" in text
    assert "crossdock_load 0.02" in text
    assert 'crossdock_http_requests_total{method="GET",route="/readyz",status="200"} 1.0' in text
    await broker.close()
    assert (await http.get("/healthz")).status_code == 200


async def test_not_ready_once_the_broker_is_closed(broker, http):
    await broker.close()
    is_problem(await http.get("/readyz"), 503, "not running")
    answer = await http.post("/processes/add/execution", json={"inputs": {"a": 1}}, headers={"prefer": "respond-async"})
    is_problem(answer, 503, "not running")


async def test_the_apis_description_is_whole(http):
    text = (await http.get("/api")).text
    document = json.loads(text)
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert references <= schemas.keys()
    assert {"Execute", "StatusInfo", "Problem", "Lease"} <= references
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= 28
    for operation in operations:
        assert operation["summary"]
        assert any(status.startswith("2") for status in operation["responses"])
    assert "inputs" in schemas["Execute"]["properties"]
    assert "jobID" in schemas["StatusInfo"]["properties"]
