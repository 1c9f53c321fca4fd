import msgspec
import pytest

from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import ArraySpec, Job, Progress, Tally
from crossdock.core.lifecycle import State
from crossdock.core.requests import Entry
from crossdock.protocols.ogc.calls import EventReader
from crossdock.protocols.ogc.documents import STATUS, log_entry, percent, status_info
from crossdock.protocols.ogc.messages import StatusInfo


def job(**changes):
    return Job(**{"id": 5, "kind": "add", "payload": b"{}", "created": 1.0, **changes})


def test_every_state_has_a_status():
    assert STATUS == {
        State.WAITING: "accepted",
        State.READY: "accepted",
        State.LEASED: "running",
        State.SUCCEEDED: "successful",
        State.FAILED: "failed",
        State.CANCELLED: "dismissed",
    }


@pytest.mark.parametrize("state", list(State))
def test_a_status_document_survives_the_wire(state):
    info = status_info(job(state=state, progress=Progress(1, 3, "x"), retry_of=4, batch=3, tally=Tally(3, 1)), "http://x")
    assert msgspec.json.decode(msgspec.json.encode(info), type=StatusInfo) == info


def test_what_clients_of_the_standard_need_is_always_there():
    document = msgspec.json.decode(msgspec.json.encode(status_info(job(), "http://x")))
    assert document["jobID"] == encode_id(5)
    assert {"processID", "type", "jobID", "status", "progress", "created", "links"} <= document.keys()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"progress": Progress(1, 0)}, 0),
        ({"progress": Progress(1, 4)}, 25),
        ({"progress": Progress(9, 4)}, 99),
        ({"progress": Progress(-1, 4)}, 0),
        ({"progress": Progress(1, -4)}, 0),
        ({"progress": Progress(1, float("nan"))}, 0),
        ({"tally": Tally(200, 40, 5, 5)}, 25),
        ({"state": State.SUCCEEDED}, 100),
        ({"state": State.FAILED, "progress": Progress(1, 1)}, 99),
    ],
)
def test_percent(changes, expected):
    assert percent(job(**changes)) == expected


def test_an_array_that_has_not_begun_has_its_members_counted():
    members = status_info(job(array=ArraySpec(count=9)), "").crossdock.members
    assert members.total == 9


def sse(entry):
    data = msgspec.json.encode(log_entry(entry)).decode()
    return [f"id: {entry.offset}", f"event: {entry.event}", f"data: {data}", ""]


def test_an_event_comes_back_from_its_lines():
    reader = EventReader()
    lines = [*sse(Entry(5, 0, 1.0, "submitted")), ": heartbeat", "", *sse(Entry(5, 1, 2.0, "succeeded", b'{"a":1}'))]
    entries = [entry for line in lines if (entry := reader.line(line)) is not None]
    assert [(entry.offset, entry.event, entry.data) for entry in entries] == [
        (0, "submitted", None),
        (1, "succeeded", {"a": 1}),
    ]
    assert reader.ended
    assert reader.headers()["last-event-id"] == "1"


def test_what_was_seen_already_is_dropped_and_halves_are_forgotten():
    reader = EventReader()
    first, second = sse(Entry(5, 0, 1.0, "submitted")), sse(Entry(5, 1, 2.0, "leased"))
    assert [reader.line(line) for line in first][-1] is not None
    for line in second[:-1]:
        assert reader.line(line) is None
    reader.broken()
    assert [reader.line(line) for line in first][-1] is None
    assert [reader.line(line) for line in second][-1].event == "leased"
    assert not reader.ended
