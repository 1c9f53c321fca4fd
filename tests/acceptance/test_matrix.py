"""Any protocol in, any worker out: every frontend with everybody who can do its jobs, in one `crossdock serve`.

Every process is real, and so is RabbitMQ. Each pair of a door and a kind gives a nested result, one that is too large for an
answer, and a failure, told in the words of the door.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

import crossdock
from acceptance.matrix_clients import Clients
from acceptance.matrix_evaluator import BAD, PlainWorker, results_of
from acceptance.matrix_site import PATIENCE, PLACES, Site, eventually
from rabbit import Rabbit

pytestmark = pytest.mark.timeout(2 * PATIENCE)

DOORS = {
    "ogc": ("successful", "failed"),
    "longpost": ("200", "422"),
    "recodex": ("OK", "FAILED"),
    "jsonbus": ("success", "fail"),
}
"""What each frontend calls a success and a failure."""

HANDS = {
    "here": "runners/function/runner.py",
    "over_http": "protocols/ogc/worker.py",
    "over_recodex": "protocols/recodex/worker.py",
    "endpoint": "protocols/longpost/backend.py",
    "queue": "protocols/jsonbus/worker.py",
    "php": "protocols/jsonbus/backend.py",
    "node": "protocols/jsonbus/node_runner.py",
    "evaluation": "protocols/recodex/backend.py",
}
"""Who runs each kind; evaluations, whose payloads are of another form, have tests of their own."""

NESTED = {
    "numbers": [1, -2.5, 2**53 - 1, 1e-9],
    "words": ["", "caf\u00e9", "\U0001f69a", 'a "quoted" \\ / line\n', "\u2028\u0000"],
    "deep": [[["a", {"b": [None, True, False, {"c": {}}]}]]],
    "": {"0": "first", "2": "third"},
}
LARGE = {"text": "caf\u00e9 \U0001f69a \\ " * 12_500}
"""200 KB in UTF-8."""


@pytest.fixture(scope="module")
def clients(rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    site = Site(rabbit.vhost("matrix"), tmp_path_factory.mktemp("matrix"))
    try:
        site.open()
        clients = Clients(site)
        yield clients
        clients.close()
    finally:
        site.close()


pairs = pytest.mark.parametrize(("door", "kind"), [(door, kind) for door in DOORS for kind in PLACES])


@pairs
def test_a_nested_result(clients, door, kind):
    answer = clients.ask(door, kind, {"task": "give", "value": NESTED})
    assert answer == (DOORS[door][0], {"place": PLACES[kind], "value": NESTED}, "", False)


@pairs
def test_a_large_payload_and_a_large_result(clients, door, kind):
    answer = clients.ask(door, kind, {"task": "give", "value": LARGE})
    assert (answer.word, answer.value) == (DOORS[door][0], {"place": PLACES[kind], "value": LARGE})
    assert answer.indirect == (door in ("longpost", "jsonbus"))


@pairs
def test_a_failure(clients, door, kind):
    answer = clients.ask(door, kind, {"task": "fail", "value": f"job {door}"})
    word, text = DOORS[door][1], f"job {door} cannot be done"
    if kind == "endpoint":
        text = f"the server answered 422: {text}"
    if (door, kind) == ("longpost", "php"):  # a worker in PHP cannot say that it fails on purpose, and accidents are secret
        word, text = "500", "worker error"
    assert answer == (word, None, text, False)
    if kind == "php":
        assert [job["params"]["value"] for job in clients.site.php.seen].count(f"job {door}") == 1


@pytest.fixture(scope="module")
def evaluator(clients: Clients) -> Iterator[None]:
    with PlainWorker(clients.site.workers):
        eventually(lambda: "plain" in clients.site.groups(), "the worker")
        yield


@pytest.mark.parametrize("door", DOORS)
def test_an_evaluation_by_a_worker_that_is_not_ours(clients, evaluator, door):
    archive = bytes(range(256)) * 800
    answer = clients.evaluate(door, archive)
    assert answer == (DOORS[door][0], results_of(archive), "", False)


@pytest.mark.parametrize("door", DOORS)
def test_an_evaluation_that_fails(clients, evaluator, door):
    word = "500" if door == "longpost" else DOORS[door][1]
    assert clients.evaluate(door, BAD) == (word, None, BAD.decode(), False)


def test_every_frontend_and_everybody_who_works_is_here():
    root = Path(crossdock.__file__).parent
    protocols = [folder for folder in (root / "protocols").iterdir() if folder.is_dir()]
    assert {folder.name for folder in protocols if [*folder.glob("frontend*")]} == {*DOORS}
    workers = {str(path.relative_to(root)) for name in ("backend", "worker") for path in root.glob(f"protocols/*/{name}.py")}
    assert workers <= {*HANDS.values()}
    assert HANDS.keys() == PLACES.keys() | {"evaluation"}
