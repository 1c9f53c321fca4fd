"""``crossdock doctor`` at a RabbitMQ: what is there, what does not fit, and what an operator should set."""

import json
import shlex
import subprocess
from pathlib import Path

from servers import CROSSDOCK

from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.connection import Connection
from crossdock.protocols.jsonbus.link import ConnectionOptions
from crossdock.protocols.jsonbus.topology import DEAD, bus, foreign_queue, own_queue


def doctor(url: str, data: Path, *settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    options = [f"jsonbus.url={url}", "jsonbus.node=well", "http.listen=127.0.0.1:0", *settings]
    command = [CROSSDOCK, "doctor", "--json", "--data", str(data)]
    done = subprocess.run(
        [*command, *(word for option in options for word in ("--set", option))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {found["check"]: found for found in findings if found["check"].startswith("json-bus")}


async def declared(url: str, *parts) -> Connection:
    connection = Connection(ConnectionOptions(url=url))
    connection.require(parts)
    await connection.start()
    return connection


async def test_a_fresh_broker_is_well_and_stays_as_it_was(vhost, tmp_path):
    code, found = doctor(vhost.url, tmp_path)
    assert code == 0
    assert found["json-bus connection"]["text"].startswith("RabbitMQ ")
    assert found["json-bus queue svc.well.requests"]["text"].startswith("not there yet")
    assert "svc." not in vhost.rabbit.control("list_queues", "-p", vhost.name, "name")


async def test_its_policies_are_commands_that_rabbitmq_takes(vhost, tmp_path):
    _, found = doctor(vhost.url, tmp_path, "jsonbus.request_key=php.requests")
    lines = [line.strip() for line in found["json-bus policies"]["text"].splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("rabbitmqctl")]
    assert len(commands) == 3
    for _, *words in commands:
        vhost.rabbit.control(*words)
    assert vhost.rabbit.control("list_policies", "-p", vhost.name).count("well-") == 3


async def test_a_queue_that_does_not_fit_is_named_with_what_to_do(vhost, tmp_path):
    connection = await declared(vhost.url, *foreign_queue("svc.well.requests"))
    try:
        code, found = doctor(vhost.url, tmp_path)
    finally:
        await connection.close()
    wrong = found["json-bus queue svc.well.requests"]
    assert (code, wrong["health"]) == (1, "failed")
    assert "delete_queue svc.well.requests" in wrong["text"]
    assert "json-bus policies" not in found


async def test_dead_letters_are_a_warning(vhost, tmp_path):
    connection = await declared(vhost.url, bus(), *own_queue("svc.well.requests", "requests"))
    try:
        await connection.publish(Letter(body=b"poison", key="svc.well.requests", kind="", id="p", exchange=DEAD))
    finally:
        await connection.close()
    code, found = doctor(vhost.url, tmp_path)
    dead = found["json-bus queue svc.well.requests.dead"]
    assert (code, dead["health"]) == (0, "warning")
    assert dead["text"].startswith("1 messages could not be handled")


async def test_a_wrong_password_is_said_without_it(vhost, tmp_path):
    code, found = doctor(vhost.url_of("nobody", "canary"), tmp_path)
    assert (code, list(found)) == (1, ["json-bus connection"])
    assert "wrong user or password" in found["json-bus connection"]["text"]
    assert "canary" not in found["json-bus connection"]["text"]
