"""Private RabbitMQ nodes for tests.

A test takes the fixture ``rabbit`` (the node of this test process) or ``vhost`` (a fresh virtual host on it, the
usual choice); it is then marked ``acceptance`` by itself. One that needs other settings makes a ``Rabbit`` of its own and
closes it.

    async def test_something(vhost):
        connection = await aiormq.connect(vhost.url)
        vhost.rabbit.kill()
        vhost.rabbit.start()
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rabbit_node import Node, Vhost, scripts

__all__ = ["Rabbit", "Vhost", "rabbit", "require_scripts", "vhost"]


def require_scripts() -> Path:
    """Return the folder with the scripts. Without them the test is skipped, and fails where CI=true."""
    found = scripts()
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("RabbitMQ has to be installed where CI=true: scripts/system_packages.sh")
    if found is None:
        pytest.skip("rabbitmq-server is not installed: scripts/system_packages.sh")
    return found


class Rabbit(Node):
    """A RabbitMQ node. Without RabbitMQ the test is skipped, and fails where CI=true."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        require_scripts()
        super().__init__(folder, settings)


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """The node of this test process."""
    node = Rabbit(tmp_path_factory.mktemp("rabbit") / "node")
    try:
        node.start()
        yield node
    finally:
        node.close()


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[Vhost]:
    """A virtual host that no other test has seen. Whatever the test does to the node is put right afterwards."""
    rabbit.start()
    yield rabbit.vhost(f"test{next(_numbers)}")
    if not rabbit.running:
        rabbit.start()
    elif rabbit.alarmed:
        rabbit.alarm(on=False)


_numbers = itertools.count(1)
