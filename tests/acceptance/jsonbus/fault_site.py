"""A node with hands of its own and two workers behind RabbitMQ, as processes that can be killed at any moment."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers import CROSSDOCK, Program, Server

from acceptance.jsonbus.worker_site import eventually
from rabbit import Vhost

APPS = Path(__file__).with_name("fault_app.py")
KINDS = ("local", "own")
"""What the node does itself, and what its workers do."""


class Site:
    """A node, and workers of its backend ``hands``."""

    def __init__(self, vhost: Vhost, folder: Path) -> None:
        (folder / "crossdock.toml").write_text(
            f'[jsonbus]\nurl = "{vhost.url}"\n[backends.jsonbus.hands]\nworkers = "own"\nkinds = ["own"]\nslots = 50\n'
        )
        self.vhost = vhost
        self.node = Server(f"{APPS}:node", folder / "data", settings=["worker.slots=8"], cwd=folder)
        link = f"jsonbus+{vhost.url}?node=hands"
        command = [CROSSDOCK, "worker", f"{APPS}:worker", "--connect", link, "--slots", "4"]
        self.workers = [Program(command, folder / f"worker{number}.log", folder) for number in range(2)]
        self.kills = 0

    @property
    def programs(self) -> list[Program]:
        """Everything that can be killed."""
        return [self.node, *self.workers]

    def start(self) -> None:
        """Start everything; on return requests and jobs are taken."""
        self.node.start()
        for worker in self.workers:
            worker.start()
        self.settle()

    def settle(self) -> None:
        """Wait until the node and both workers are at their queues."""

        def consumers() -> dict[str, list[str]]:
            return {name: count for name, count in self.vhost.queues("consumers").items() if name.startswith("svc.")}

        wanted = {"svc.crossdock.requests": ["1"], "svc.hands.jobs": ["2"], "svc.hands.results": ["1"]}
        eventually(lambda: consumers().items() >= wanted.items(), f"{wanted}")

    async def kill(self, program: Program, draw: random.Random) -> None:
        """Kill a program now and start it again: with a look whether it gets ready, or without."""
        await asyncio.to_thread(program.kill)
        self.kills += 1
        await asyncio.sleep(draw.uniform(0.0, 0.2))
        start = program.start if draw.random() < 0.6 else lambda: Program.start(program)
        await asyncio.to_thread(start)


@contextmanager
def site_at(vhost: Vhost, folder: Path) -> Iterator[Site]:
    """Give a site that ends with the block."""
    site = Site(vhost, folder)
    with ExitStack() as stack:
        for program in site.programs:
            stack.callback(lambda program=program: program._process and program.stop())
        site.start()
        yield site
