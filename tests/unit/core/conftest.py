"""A house with a broker in it, for everything that needs one."""

from collections.abc import AsyncIterator

import pytest

from brokers import House, Valve
from crossdock.stores.memory import MemoryStore


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A broker over a memory store, closed by a kill: whatever a test leaves behind does not matter."""
    house = House()
    await house.open()
    await house.attach()
    yield house
    await house.crash()


@pytest.fixture
async def valve() -> AsyncIterator[tuple[House, Valve]]:
    """A broker over a store whose commits the test holds in its hand."""
    valve = Valve(MemoryStore())
    house = House(reopen=lambda: valve)
    await house.open()
    await house.attach()
    yield house, valve
    await house.crash()
