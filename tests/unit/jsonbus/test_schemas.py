"""The published schemas: sound, served, and of one mind with the codec."""

import json

import pytest
from httpx import ASGITransport, AsyncClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.applications import Starlette

from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.messages import Refused
from crossdock.protocols.jsonbus.schema_routes import routes
from crossdock.protocols.jsonbus.schemas import SCHEMAS

REQUEST = {"type": "request", "id": "r1", "clientId": "c1", "subject": "s"}
TASK = {"type": "task", "id": "t1", "requestId": "r1", "createTime": "", "status": "wait"}
JOB = {"type": "job", "id": "j1", "taskId": "t1", "createTime": "", "status": "new"}
NOTIFICATION = {"type": "notification", "requestId": "r1", "status": "fail", "message": ""}
RESULT = {"type": "result", "job": {**JOB, "status": "success"}}
OLDER = {"type": "result", "taskId": "t1", "jobStatus": "done"}
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}

odd = st.sampled_from([None, 0, 1.5, True, "", "x", "new", "success", "active", [], ["a"], {}, {"0": "a"}])
KNOWN = "type id clientId subject requestId taskId createTime status message params data attempt job x"
names = st.sampled_from(KNOWN.split())
whole = st.sampled_from([REQUEST, TASK, JOB, NOTIFICATION, RESULT, OLDER])
changes = st.dictionaries(names, odd | whole, max_size=3)


def agree(wire: dict) -> None:
    """Check that the schema of the message's type and the codec say the same."""
    validator = VALIDATORS.get(wire["type"]) if isinstance(wire.get("type"), str) else None
    assert isinstance(decode(json.dumps(wire).encode()), Refused) == (validator is None or not validator.is_valid(wire))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_sound_and_named_after_its_address(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == f"/schemas/jsonbus/{name}.json"


@pytest.mark.parametrize("wire", [REQUEST, TASK, JOB, NOTIFICATION, RESULT], ids=lambda wire: wire["type"])
def test_a_message_fits_its_own_schema_only(wire):
    assert [name for name, validator in VALIDATORS.items() if validator.is_valid(wire)] == [wire["type"]]


def test_the_older_form_of_results_fits_none():
    assert not any(validator.is_valid(OLDER) for validator in VALIDATORS.values())


@pytest.mark.parametrize("wire", [REQUEST, TASK, JOB, NOTIFICATION, RESULT], ids=lambda wire: wire["type"])
def test_schema_and_codec_agree_on_every_single_change(wire):
    for name in [*wire, "params", "data", "attempt", "x"]:
        agree({key: value for key, value in wire.items() if key != name})
        for value in (None, 0, True, "", "x", "new", "success", "fail", "wait", [], ["a"], {}, {"a": 1}):
            agree({**wire, name: value})
    for name in [*JOB, "params", "data", "attempt"]:
        agree({**RESULT, "job": {key: value for key, value in JOB.items() if key != name}})
        for value in (None, 0, "x", [], {}):
            agree({**RESULT, "job": {**JOB, name: value}})


@given(whole, changes, changes, st.sets(names, max_size=1))
@example(RESULT, {}, {"params": "x"}, set())
@settings(max_examples=300)
def test_schema_and_codec_agree_on_any_changes(wire, outer, inner, missing):
    wire = {**wire, **outer}
    if isinstance(wire.get("job"), dict):
        wire["job"] = {**wire["job"], **inner}
    agree({name: value for name, value in wire.items() if name not in missing})


@pytest.fixture
async def client():
    transport = ASGITransport(Starlette(routes=routes()))
    async with AsyncClient(transport=transport, base_url="http://crossdock") as client:
        yield client


@pytest.mark.parametrize("name", SCHEMAS)
async def test_a_schema_is_served_at_its_address(client, name):
    answer = await client.get(SCHEMAS[name]["$id"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/schema+json")
    assert answer.json() == SCHEMAS[name]


@pytest.mark.parametrize("path", ["/schemas/jsonbus", "/schemas/jsonbus/"])
async def test_the_index_leads_to_all(client, path):
    index = await client.get(path)
    links = [entry["href"] for entry in index.json()["schemas"]]
    assert [(await client.get(link)).json()["title"] for link in links] == list(SCHEMAS)


@pytest.mark.parametrize("name", ["answer.json", "request.txt", "%00", "request.json.json"])
async def test_another_name_is_not_found(client, name):
    answer = await client.get(f"/schemas/jsonbus/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "request.json" in answer.json()["detail"]


async def test_there_is_nothing_but_reading(client):
    assert (await client.post("/schemas/jsonbus/request.json")).status_code == 405
