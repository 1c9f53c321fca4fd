"""Arrays over HTTP: one job, many members."""

import asyncio
import json

LINES = {"accept": "application/x-ndjson"}


async def run_all(hands, outcome):
    """Run every member of the array that is queued; ``outcome`` maps a member's parameters to its end."""
    chunks = await hands.take_members()
    await chunks.report({index: outcome(parameters) for index, parameters in chunks.parameters.items()})
    return list(chunks.parameters.values())


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_range(http, hands, submit):
    job = await submit(crossdock={"array": {"start": 10, "stop": 20, "step": 3, "as": "b"}})
    status = (await http.get(f"/jobs/{job}")).json()
    assert status["crossdock"]["members"] == {"total": 4, "succeeded": 0, "failed": 0, "cancelled": 0}
    parameters = await run_all(hands, lambda parameters: parameters["b"] * 2)
    assert parameters == [{"b": 10}, {"b": 13}, {"b": 16}, {"b": 19}]
    assert (await http.get(f"/jobs/{job}")).json()["status"] == "successful"
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": [20, 26, 32, 38]}


async def test_a_range_downwards(hands, submit):
    await submit(crossdock={"array": {"start": 5, "stop": 0, "step": -2}})
    chunks = await hands.take_members()
    assert chunks.parameters == {0: {"index": 5}, 1: {"index": 3}, 2: {"index": 1}}


async def test_a_table(http, hands, submit):
    job = await submit(crossdock={"array": {"table": [{"b": 1}, {"b": 2, "c": "x"}]}})
    await run_all(hands, lambda parameters: parameters)
    assert (await http.get(f"/jobs/{job}/results")).json() == {"result": [{"b": 1}, {"b": 2, "c": "x"}]}


async def test_sync_gives_the_results(http, hands):
    body = {"inputs": {"a": 1}, "response": "raw", "crossdock": {"array": {"stop": 3}}}
    answer = asyncio.create_task(http.post("/processes/add/execution", json=body))
    await run_all(hands, lambda parameters: parameters["index"])
    assert (await answer).json() == [0, 1, 2]


async def test_members_while_it_runs_and_after_it_failed(http, hands, submit):
    job = await submit(crossdock={"array": {"stop": 4}})
    chunks = await hands.take_members()
    await chunks.report({1: "one", 3: ValueError("no three")})
    status = (await http.get(f"/jobs/{job}")).json()
    assert (status["status"], status["progress"]) == ("running", 50)
    response = await http.get(f"/jobs/{job}/results")
    assert (response.status_code, response.json()["type"].rpartition("/")[2]) == (404, "result-not-ready")

    response = await http.get(f"/jobs/{job}/results", headers=LINES)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert [(line["index"], line["status"], line.get("result")) for line in lines(response)] == [
        (1, "successful", "one"),
        (3, "failed", None),
    ]
    await chunks.report({0: 0, 2: 2})
    assert (await http.get(f"/jobs/{job}")).json()["status"] == "failed"
    assert (await http.get(f"/jobs/{job}/results")).status_code == 500
    assert len(lines(await http.get(f"/jobs/{job}/results", headers=LINES))) == 4

    failed = (await http.get(f"/jobs/{job}/members?state=failed")).json()["members"]
    assert [(member["index"], member["message"], member["jobID"]) for member in failed] == [(3, "no three", f"{job}.3")]
    everything = (await http.get(f"/jobs/{job}/members")).json()["members"]
    assert [member["index"] for member in everything] == [0, 1, 2, 3]
    assert len(lines(await http.get(f"/jobs/{job}/members?state=succeeded", headers=LINES))) == 3
    assert (await http.get(f"/jobs/{job}/members?state=cancelled")).json() == {"members": []}
    positions = [member["index"] for member in everything]
    page = (await http.get(f"/jobs/{job}/members?start={positions[1]}&limit=2")).json()["members"]
    assert [member["index"] for member in page] == positions[1:3]
    assert lines(await http.get(f"/jobs/{job}/members?start={positions[-1] + 1}", headers=LINES)) == []


async def test_one_member(http, hands, submit):
    job = await submit(crossdock={"array": {"stop": 3}})
    chunks = await hands.take_members()
    await chunks.report({0: "zero", 1: ValueError("no one")})
    status = (await http.get(f"/jobs/{job}.0")).json()
    assert (status["jobID"], status["status"], status["progress"]) == (f"{job}.0", "successful", 100)
    assert (await http.get(f"/jobs/{job}.0/results")).json() == {"result": "zero"}
    response = await http.get(f"/jobs/{job}.1/results")
    assert (response.status_code, response.json()["detail"]) == (500, "no one")
    assert (await http.get(f"/jobs/{job}.2/results")).status_code == 404
    for path in ("3", "99999999999", "-1", "x", ""):
        assert (await http.get(f"/jobs/{job}.{path}")).status_code == 404
    for response in (await http.delete(f"/jobs/{job}.0"), await http.get(f"/jobs/{job}.0/events")):
        assert response.status_code == 400
        assert "whole array" in response.json()["detail"]


async def test_results_keep_their_positions_in_large_arrays(http, hands, submit):
    count = 1100  # more than a segment
    job = await submit(crossdock={"array": {"stop": count}})
    done = 0
    while done < count:
        done += len(await run_all(hands, lambda parameters: {"square": parameters["index"] ** 2, "fill": "x" * 40}))
    values = (await http.get(f"/jobs/{job}/results")).json()["result"]
    assert [value["square"] for value in values] == [index**2 for index in range(count)]
    listed = lines(await http.get(f"/jobs/{job}/results", headers=LINES))
    assert [line["index"] for line in listed] == list(range(count))


async def test_large_results_of_members_are_streamed(http, hands, submit):
    job = await submit(crossdock={"array": {"stop": 3}})
    await run_all(hands, lambda parameters: "x" * (200_000 if parameters["index"] == 1 else 10))
    values = (await http.get(f"/jobs/{job}/results")).json()["result"]
    assert [len(value) for value in values] == [10, 200_000, 10]
    assert [len(line["result"]) for line in lines(await http.get(f"/jobs/{job}/results", headers=LINES))] == [
        10,
        200_000,
        10,
    ]


async def test_dismiss_and_retry_as_one(http, hands, submit):
    job = await submit(crossdock={"array": {"stop": 3}})
    chunks = await hands.take_members()
    await chunks.report({0: 0, 1: ValueError("no"), 2: 2})
    again = (await http.post(f"/jobs/{job}/retry")).json()
    assert again["crossdock"]["members"]["total"] == 1
    response = await http.delete(f"/jobs/{again['jobID']}")
    assert response.json()["status"] == "dismissed"


async def test_a_million_members_are_accepted_at_once(http, submit):
    job = await submit(crossdock={"array": {"stop": 1_000_000}})
    status = (await http.get(f"/jobs/{job}")).json()
    assert status["crossdock"]["members"]["total"] == 1_000_000


async def test_what_is_no_array(http, submit):
    job = await submit()
    response = await http.get(f"/jobs/{job}/members")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")
    assert (await http.get(f"/jobs/{job}.0")).status_code == 404
