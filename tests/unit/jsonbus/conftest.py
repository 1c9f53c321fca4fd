"""A json-bus node without RabbitMQ."""

from collections.abc import AsyncIterator

import pytest

from brokers import House
from jsonbus_node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node whose broker has one worker, driven by hand."""
    house = House()
    await house.open()
    await house.attach(slots=1000)
    node = Node(house)
    await node.open()
    yield node
    await node.close()
    await house.crash()
