"""Every message on the protocol's page, read and written by the codec, and the numbers and names it tells."""

import json
import re
from pathlib import Path

import pytest

from crossdock.http.json_size import MAX_VALUES
from crossdock.protocols.jsonbus import hops, letters, names, topology
from crossdock.protocols.jsonbus.burials import ORIGINAL_KEY
from crossdock.protocols.jsonbus.codec import MAX_DEPTH, decode, encode
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.messages import Job, Notification, Refused, Request, Result, Task
from crossdock.protocols.jsonbus.options import NodeOptions
from crossdock.protocols.jsonbus.payloads import payload_of
from crossdock.protocols.jsonbus.schemas import SCHEMAS

PAGE = (Path(__file__).parents[3] / "docs/protocols/jsonbus.md").read_text()
KINDS = {"request": Request, "task": Task, "job": Job, "notification": Notification, "result": Result}


def lines(block: str) -> list[str]:
    found = re.findall(rf"```json {block}\n(.*?)\n```", PAGE, re.DOTALL)
    assert found, block
    return [line for text in found for line in text.splitlines()]


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table below a row of headings."""
    start = PAGE.index(heading) + len(heading)
    rows = PAGE[start:].lstrip("\n").split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("line", lines("sent"))
def test_what_we_send_is_written_like_that(line):
    message = decode(line.encode())
    assert not isinstance(message, Refused)
    assert encode(message) == line.encode()


@pytest.mark.parametrize("line", lines("message"))
def test_a_message_is_understood_and_nothing_of_it_is_lost(line):
    message = decode(line.encode())
    assert not isinstance(message, Refused)
    told, written = json.loads(line), json.loads(encode(message))
    if isinstance(message, Result):
        told["job"]["type"] = "job"
    assert written == told
    assert all(number in encode(message).decode() for number in re.findall(r"\b\d+\.\d+\b|\b\d{15,}\b|\b\d+e\d+\b", line))


def test_there_is_an_example_of_every_type():
    for block in ("sent", "message"):
        seen = {type(decode(line.encode())) for line in lines(block)}
        assert seen >= (
            {Request, Task, Job, Notification, Result} if block == "sent" else {Request, Job, Notification, Result}
        )


@pytest.mark.parametrize(("body", "reason"), list(zip(lines("refused")[::2], lines("refused")[1::2], strict=True)))
def test_what_is_refused_is_so_for_that_reason(body, reason):
    message = decode(body.encode())
    assert isinstance(message, Refused)
    assert message.reason == reason.strip()


@pytest.mark.parametrize(("before", "after"), list(zip(lines("lists"), lines("lists repaired"), strict=True)))
def test_lists_are_repaired_like_that(before, after):
    assert listed(before.encode()) == after.encode()


@pytest.mark.parametrize(("params", "data", "payload"), table("| `params` | `data` | payload |"))
def test_payloads_are_made_like_that(params, data, payload):
    def given(cell: str) -> list[bytes | None]:
        return [None, b"null"] if cell == "missing or `null`" else [None if cell == "missing" else cell.strip("`").encode()]

    for there in given(data):
        assert payload_of(given(params)[0], there) == payload.strip("`").encode()


def test_the_table_of_messages_is_that_of_the_schemas():
    rows = table("| type | has to have | may have | from, to |")
    assert [row[0].strip("`") for row in rows] == list(SCHEMAS)
    for row in rows:
        schema = SCHEMAS[row[0].strip("`")]
        required = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", row[1]))
        assert ["type", *required] == schema["required"]
        assert set(schema["properties"]) - set(schema["required"]) == set(re.findall(r"`(\w+)`", row[2]))
        statuses = re.search(r"`status` \((.*?)\)", row[1])
        if statuses:
            assert schema["properties"]["status"]["enum"] == re.findall(r"\w+", statuses[1])


def test_queues_and_keys_have_these_names():
    rows = {
        row[0].strip("`"): (row[1].strip("`"), row[2])
        for row in table("| name | bound to | under the key | what is in it |")
    }
    default = NodeOptions()
    assert rows == {
        names.requests_queue("NODE"): (topology.BUS, f"`{default.request_key}` (`request_key`)"),
        names.answers_queue("NODE"): (topology.BUS, f"`{names.notify_key('NODE')}`"),
        names.jobs_queue("NAME"): (topology.JOBS, f"`{names.jobs_key('NAME')}`"),
        names.jobs_key("NAME"): (topology.BUS, f"`{names.jobs_key('NAME')}`"),
        names.results_queue("NAME"): (topology.BUS, f"`{names.results_key('NAME')}`"),
        names.notify_key("CLIENT"): (topology.BUS, f"`{names.notify_key('CLIENT')}`"),
    }


def test_limits_and_headers_are_those_of_the_code():
    limits = {row[0]: row[1] for row in table("| what | limit |")}
    assert limits["nesting"] == f"{MAX_DEPTH} levels"
    assert limits["values in a request"] == f"{MAX_VALUES:,}"
    assert limits["result in a notification"] == f"`inline`, {NodeOptions().inline // 2**20} MiB"
    assert limits["requests between RabbitMQ and the disk"] == f"`prefetch`, {NodeOptions().prefetch}"
    assert limits["nodes that a request may pass"] == f"{hops.LIMIT}"
    headers = [row[0].strip("`") for row in table("| header | on | meaning |")]
    assert headers == [letters.ATTEMPT, hops.HEADER, letters.REASON, ORIGINAL_KEY]
