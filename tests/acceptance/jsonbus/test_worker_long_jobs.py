"""Jobs that run for longer than RabbitMQ lets a delivery be without an acknowledgement."""

import asyncio
from pathlib import Path

import pytest

from contracts.jsonbus.worker_scene import RabbitScene
from rabbit import Rabbit

SETTINGS = (
    "[application:set_env(rabbit, Key, Value) || {Key, Value} <- [{consumer_timeout, 2000}, {channel_tick_interval, 500}]]."
)
LONG = 6.0
"""Seconds that a job runs, three times as long as it may be without an acknowledgement."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory):
    node = Rabbit(Path(tmp_path_factory.mktemp("impatient")) / "node")
    try:
        node.start()
        node.evaluate(SETTINGS)
        yield node
    finally:
        node.close()


@pytest.mark.parametrize(("parameters", "timeouts"), [("ack_after=1", 0), ("ack_after=900", 1)])
async def test_it_runs_once_and_is_answered_once(impatient: Rabbit, parameters: str, timeouts: int):
    """Acknowledged while it runs, or taken back by RabbitMQ, delivered again and recognised."""
    before = impatient.log.read_text().count("timed out")
    scene = RabbitScene(True, impatient.vhost(f"long{timeouts}"))
    await scene.open()
    try:
        crew = await scene.crew(parameters=parameters)
        crew.hands.free.clear()
        await scene.push("long")
        await crew.hands.begun(1)
        await asyncio.sleep(LONG)
        crew.hands.free.set()
        assert (await scene.result())["job"]["id"] == "long"
        await scene.push("next")
        assert (await scene.result())["job"]["id"] == "next"
        assert [run["job"] for run in crew.hands.runs] == ["long", "next"]
    finally:
        await scene.close()
    timed_out = impatient.log.read_text().count("timed out") - before
    assert bool(timed_out) == bool(timeouts)
