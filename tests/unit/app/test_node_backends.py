"""Other nodes as the server's hands: each has slots of its own."""

import asyncio
import json

from brokers import House
from crossdock.app import jsonbus as module
from crossdock.app.hands import _worker
from crossdock.config import Config, Jsonbus
from crossdock.protocols.jsonbus.kinds import node_kind
from jsonbus_bus import MemoryBus

PATIENCE = 10.0


async def test_a_node_that_does_not_answer_keeps_nobody_waiting_for_another(monkeypatch):
    monkeypatch.setattr(module, "_ASKED", 1)
    house = House({name: node_kind(name) for name in ("slow", "quick")})
    broker = await house.open()
    node, bus = module.Node(Config(), Jsonbus(url="amqp://127.0.0.1/"), broker), MemoryBus()
    monkeypatch.setattr(node, "bus", bus)
    bus.declare("slow_request")
    bus.declare("quick_request")
    for _ in range(3):
        await house.submit("slow", payload=b"{}")
    workers = [_worker(backend, broker) for backend in node.backends()]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
        assert json.loads((await bus.get("slow_request")).body)["subject"] == "slow"
        job = await house.submit("quick", payload=b"{}")
        asked = json.loads((await bus.get("quick_request", PATIENCE)).body)
        answer = {"type": "notification", "requestId": asked["id"], "status": "success", "message": "done", "data": 7}
        assert bus.send(json.dumps(answer).encode(), key="crossdock_notify")
        assert (await broker.intake.wait(job.id, PATIENCE)).result == b"7"
        # Whoever goes first leaves the others what they share.
        workers[-1].release()
        assert len(bus.queues["svc.crossdock.answers"].consumers) == 1
        for worker in workers:
            worker.release()
    assert bus.queues["svc.crossdock.answers"].consumers == []
    await house.crash()
