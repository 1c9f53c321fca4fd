"""Lists of jobs: pages, filters, and batches."""

import pytest


async def ids(http, query=""):
    response = await http.get(f"/jobs{query}")
    assert response.status_code == 200, response.text
    return [job["jobID"] for job in response.json()["jobs"]]


async def test_pages_have_every_job_once_newest_first(http, submit):
    submitted = [await submit() for _ in range(7)]
    found, url = [], "/jobs?limit=3&processID=add"
    while url:
        page = (await http.get(url)).json()
        assert len(page["jobs"]) <= 3
        found += [job["jobID"] for job in page["jobs"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert found == submitted[::-1]


@pytest.fixture
async def mixed(submit, hands, http):
    """One job in every status."""
    jobs = {"successful": await submit()}
    await hands.succeed(1)
    jobs["failed"] = await submit()
    await hands.fail("boom")
    jobs["dismissed"] = await submit()
    await http.delete(f"/jobs/{jobs['dismissed']}")
    jobs["running"] = await submit("echo", {"payload": 1})
    await hands.take()
    jobs["accepted"] = await submit("echo", {"payload": 1})
    jobs["waiting"] = await submit(crossdock={"not_before": 32503680000})
    return jobs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?status=successful", ["successful"]),
        ("?status=failed", ["failed"]),
        ("?status=dismissed", ["dismissed"]),
        ("?status=running", ["running"]),
        ("?status=accepted", ["waiting", "accepted"]),
        ("?status=running,failed", ["running", "failed"]),
        ("?status=running&status=failed", ["running", "failed"]),
        ("?state=waiting", ["waiting"]),
        ("?status=accepted&state=ready", ["accepted"]),
        ("?processID=echo", ["accepted", "running"]),
        ("?processID=echo,add&status=failed", ["failed"]),
        ("?processID=echo&status=failed", []),
        ("?code=boom", ["failed"]),
        ("?type=process&status=failed", ["failed"]),
        ("?type=other", []),
        ("?datetime=2000-01-01T00:00:00Z/..&status=failed", ["failed"]),
        ("?datetime=../2000-01-01T00:00:00Z", []),
        ("?datetime=2999-01-01", []),
        ("?minDuration=0&status=successful", ["successful"]),
        ("?minDuration=3600", []),
        ("?maxDuration=3600&status=failed", ["failed"]),
        ("?limit=100000&status=failed", ["failed"]),
    ],
)
async def test_filters(http, mixed, query, expected):
    assert await ids(http, query) == [mixed[name] for name in expected]


async def test_a_jobs_own_time_finds_it(http, submit):
    job = await submit()
    created = (await http.get(f"/jobs/{job}")).json()["created"]
    assert await ids(http, f"?datetime={created}") == [job]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=1e3", "limit"),
        ("status=sleeping", "status"),
        ("state=accepted", "state"),
        ("status=failed&state=ready", "status"),
        ("datetime=yesterday", "datetime"),
        ("datetime=../..", "datetime"),
        ("datetime=/", "datetime"),
        ("datetime=2020-01-01/2021-99-01", "datetime"),
        ("minDuration=-1", "minDuration"),
        ("minDuration=nan", "minDuration"),
        ("maxDuration=inf", "maxDuration"),
        ("maxDuration=long", "maxDuration"),
        ("batch=nothing", "batch"),
        ("cursor=nothing", "cursor"),
        ("cursor=", "cursor"),
    ],
)
async def test_parameters_that_make_no_sense(http, query, name):
    response = await http.get(f"/jobs?{query}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert name in response.json()["detail"]


async def test_a_batch(http, hands):
    item = {"process": "add", "inputs": {"a": 1}}
    response = await http.post("/batches", json={"jobs": [item, item, {"process": "echo", "inputs": {"payload": []}}]})
    assert response.status_code == 201
    batch = response.json()
    url = response.headers["location"]
    jobs = [job["jobID"] for job in batch["jobs"]]
    assert len(set(jobs)) == 3
    assert await ids(http, f"?batch={batch['batchID']}") == jobs[::-1]
    await hands.succeed(1)
    await hands.fail()
    info = (await http.get(url)).json()
    assert info["members"] == {"total": 3, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert (await http.delete(url)).json() == {"cancelled": 1}
    assert (await http.delete(url)).json() == {"cancelled": 0}
    assert (await http.get(url)).json()["members"]["cancelled"] == 1


async def test_a_batch_is_accepted_whole_or_not_at_all(http):
    good = {"process": "add", "inputs": {"a": 1}}
    for bad, words in [
        ({"process": "none", "inputs": {}}, "jobs[1]: there is no process 'none'"),
        ({"process": "echo", "inputs": {}}, "jobs[1]"),
        ({"process": "checked", "inputs": {"a": "x"}}, "a: an integer"),
        ({"inputs": {}}, "process"),
        ({"process": "add", "inputs": {"a": 1}, "crossdock": {"priority": "high"}}, "priority"),
    ]:
        response = await http.post("/batches", json={"jobs": [good, bad]})
        assert response.status_code in (400, 404), response.text
        assert words in response.json()["detail"]
    assert await ids(http) == []


async def test_keys_in_a_batch(http):
    item = {"process": "add", "inputs": {"a": 1}, "key": "k"}
    first = (await http.post("/batches", json={"jobs": [item]})).json()["jobs"]
    second = (await http.post("/batches", json={"jobs": [item]})).json()["jobs"]
    assert first[0]["jobID"] == second[0]["jobID"]


@pytest.mark.parametrize("batch", ["nothing", "0000000000000", "9" * 3000])
async def test_batches_that_do_not_exist(http, batch):
    for response in (await http.get(f"/batches/{batch}"), await http.delete(f"/batches/{batch}")):
        assert response.status_code == 404
        assert "no batch" in response.json()["detail"]


async def test_workers_and_draining(broker, http, hands, submit):
    [worker] = (await http.get("/workers")).json()["workers"]
    assert (worker["id"], worker["slots"], worker["busy"], worker["draining"]) == ("local/hands", 100, 0, False)
    assert (await http.post("/workers/local/hands/drain")).status_code == 204
    [worker] = (await http.get("/workers")).json()["workers"]
    assert worker["draining"] is True
    await submit()
    assert await broker.dispatch.claim("local/hands", 1) == []
    response = await http.post("/workers/none/drain")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
