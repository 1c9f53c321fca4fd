"""Keys: every route with none, a wrong one, one of another tenant, and one without the scope."""

import pytest

DIGEST = "0" * 64
ADD = {"json": {"inputs": {"a": 1}}, "headers": {"prefer": "respond-async"}}

OPEN = [("GET", "/"), ("GET", "/api"), ("GET", "/conformance"), ("GET", "/healthz"), ("GET", "/readyz")]

# Per route, the scopes of which one is needed; none means that any key will do.
CLOSED = [
    ("GET", "/processes", ()),
    ("GET", "/processes/add", ()),
    ("POST", "/processes/add/execution", ("submit",)),
    ("POST", "/batches", ("submit",)),
    ("GET", "/jobs", ("read-own", "read-all")),
    ("GET", "/jobs/{job}", ("read-own", "read-all")),
    ("DELETE", "/jobs/{job}", ("submit",)),
    ("GET", "/jobs/{job}/results", ("read-own", "read-all")),
    ("GET", "/jobs/{job}/events", ("read-own", "read-all")),
    ("GET", "/jobs/{job}/members", ("read-own", "read-all")),
    ("POST", "/jobs/{job}/retry", ("submit",)),
    ("GET", "/batches/{batch}", ("read-own", "read-all")),
    ("DELETE", "/batches/{batch}", ("submit",)),
    ("GET", "/workers", ("read-all", "work")),
    ("POST", "/workers", ("work",)),
    ("DELETE", "/workers/w", ("work",)),
    ("POST", "/workers/w/drain", ("admin",)),
    ("POST", "/workers/w/claim", ("work",)),
    ("POST", "/workers/w/renew", ("work",)),
    ("POST", "/leases/1/notes", ("work",)),
    ("POST", "/leases/1/report", ("work",)),
    ("POST", "/leases/1/members", ("work",)),
    ("POST", "/artifacts", ("work", "submit")),
    ("PUT", f"/artifacts/{DIGEST}", ("work", "submit")),
    ("GET", f"/artifacts/{DIGEST}?size=1", ("work", "read-own", "read-all")),
    ("GET", "/metrics", ("read-all",)),
]

OWNED = [(method, path) for method, path, _ in CLOSED if "{" in path]


@pytest.fixture
def broker(memory_broker):
    """Who may do what is decided before any store is asked."""
    return memory_broker


@pytest.fixture
async def server(serve, keys):
    return await serve(keys=keys)


@pytest.fixture
async def call(http):
    async def send(method, path, name=None, **more):
        headers = {} if name is None else {"authorization": f"Bearer secret-{name}"}
        return await http.request(method, path, **{**more, "headers": {**more.get("headers", {}), **headers}})

    return send


@pytest.fixture
async def owned(call):
    """An array job and a batch of tenant a."""
    job = await call(
        "POST", "/processes/add/execution", "ann", json={"crossdock": {"array": {"stop": 2}}}, headers=ADD["headers"]
    )
    batch = await call("POST", "/batches", "ann", json={"jobs": [{"process": "add", "inputs": {"a": 1}}]})
    return {"job": job.json()["jobID"], "batch": batch.json()["batchID"]}


def test_every_route_is_listed_here(memory_broker):
    from crossdock.protocols.ogc.frontend.application import create_app

    app = create_app(memory_broker)._app.default
    routes = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    assert len(routes) == len(OPEN) + len(CLOSED)


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_open_routes_need_no_key(call, method, path):
    assert (await call(method, path)).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer nobody-knows", "Basic secret-ann", "secret-ann"])
@pytest.mark.parametrize(("method", "path", "scopes"), CLOSED)
async def test_no_key_and_wrong_keys(call, method, path, scopes, header):
    del scopes
    path = path.format(job="0000000000000", batch="0000000000000")
    response = await call(method, path, headers={} if header is None else {"authorization": header})
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "scopes"), [route for route in CLOSED if route[2]])
async def test_a_key_without_the_scope(call, owned, method, path, scopes):
    response = await call(method, path.format(**owned), "nobody")
    assert response.status_code == 403
    assert repr(scopes[0]) in response.json()["detail"]


@pytest.mark.parametrize(("method", "path", "scopes"), [route for route in CLOSED if "events" not in route[1]])
async def test_the_administrator_is_never_refused(call, owned, method, path, scopes):
    del scopes
    response = await call(method, path.format(**owned), "root")
    assert response.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path"), OWNED)
async def test_jobs_of_another_tenant_do_not_exist(call, owned, method, path):
    foreign = await call(method, path.format(**owned), "bob")
    unknown = await call(method, path.format(job="0000000000001", batch="0000000000001"), "bob")
    assert foreign.status_code == unknown.status_code == 404
    foreign_text = foreign.text.replace(owned["job"], "ID").replace(owned["batch"], "ID")
    assert foreign_text == unknown.text.replace("0000000000001", "ID")


async def test_members_of_another_tenants_array(call, owned):
    assert (await call("GET", f"/jobs/{owned['job']}.0", "ann")).status_code == 200
    assert (await call("GET", f"/jobs/{owned['job']}.0", "bob")).status_code == 404


async def test_no_job_comes_after_one_of_another_tenant(call, owned):
    """It would be given its result."""

    async def submit(name, parent):
        more = {"crossdock": {"after": [parent]}}
        job = await call("POST", "/processes/add/execution", name, json=more, headers=ADD["headers"])
        batch = await call("POST", "/batches", name, json={"jobs": [{"process": "add"}, {"process": "add", **more}]})
        return job, batch

    assert [response.status_code for response in await submit("ann", owned["job"])] == [201, 201]
    foreign, unknown = await submit("bob", owned["job"]), await submit("bob", "0000000000001")
    for one, other in zip(foreign, unknown, strict=True):
        assert one.status_code == 404
        assert one.text.replace(owned["job"], "ID") == other.text.replace("0000000000001", "ID")
    assert (await call("GET", "/jobs", "bob")).json()["jobs"] == []


async def test_lists_show_ones_own(call, owned):
    assert len((await call("GET", "/jobs", "ann")).json()["jobs"]) == 2
    assert (await call("GET", "/jobs", "bob")).json()["jobs"] == []
    assert (await call("GET", f"/jobs?batch={owned['batch']}", "bob")).json()["jobs"] == []
    assert len((await call("GET", "/jobs", "eve")).json()["jobs"]) == 2
    page = await call("GET", "/", "bob", headers={"accept": "text/html"})
    assert owned["job"] not in page.text
    assert owned["job"] not in (await call("GET", "/", headers={"accept": "text/html"})).text
    assert owned["job"] in (await call("GET", "/", "ann", headers={"accept": "text/html"})).text


async def test_who_reads_all_changes_nothing(call, owned):
    assert (await call("GET", f"/jobs/{owned['job']}", "eve")).status_code == 200
    for method, path in (("DELETE", "/jobs/{job}"), ("POST", "/jobs/{job}/retry"), ("DELETE", "/batches/{batch}")):
        assert (await call(method, path.format(**owned), "eve")).status_code == 403


async def test_jobs_belong_to_the_keys_tenant(call):
    for tenant, status in ((None, 201), ("a", 201), ("b", 403)):
        body = {"inputs": {"a": 1}, "crossdock": {"tenant": tenant}}
        response = await call("POST", "/processes/add/execution", "ann", json=body, headers=ADD["headers"])
        assert response.status_code == status
    body = {"inputs": {"a": 1}, "crossdock": {"tenant": "b"}}
    response = await call("POST", "/processes/add/execution", "root", json=body, headers=ADD["headers"])
    assert response.json()["crossdock"]["tenant"] == "b"
    item = {"process": "add", "crossdock": {"tenant": "b"}}
    assert (await call("POST", "/batches", "ann", json={"jobs": [item]})).status_code == 403


async def test_idempotency_keys_are_each_tenants_own(call):
    more = {"json": {"inputs": {"a": 1}}, "headers": {"prefer": "respond-async", "idempotency-key": "k"}}
    first = await call("POST", "/processes/add/execution", "ann", **more)
    second = await call("POST", "/processes/add/execution", "bob", **more)
    assert first.json()["jobID"] != second.json()["jobID"]


async def test_keys_and_payloads_are_in_no_log(call, capfd, caplog):
    await call("POST", "/processes/add/execution", "ann", json={"inputs": {"a": "canary-payload"}, "x-canary": 1})
    await call("POST", "/processes/add/execution", "canary-key", json={})
    await call("GET", "/jobs?status=canary-query", "ann")
    out = capfd.readouterr()
    for text in (out.out, out.err, caplog.text):
        assert "canary" not in text
        assert "secret" not in text
