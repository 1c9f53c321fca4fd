"""The stores that the suite of the ``Store`` port runs over. A backend says what it can as data; tests ask for that."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossdock.core.ports import Store
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore

NOW = 1_700_000_000.0
"""What the stores take for the present, in seconds since 1970."""


@dataclass(frozen=True)
class StoreBackend:
    """One implementation. ``durable``: a new object over the same place has everything the old one committed."""

    make: Callable[[Path], Store]
    durable: bool


STORES = {
    "memory": StoreBackend(lambda _: MemoryStore(wall=lambda: NOW), durable=False),
    "sqlite": StoreBackend(lambda path: SqliteStore(path / "store.db", wall=lambda: NOW), durable=True),
}

Restart = Callable[[Store], Awaitable[Store]]


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def store_backend(request: pytest.FixtureRequest) -> StoreBackend:
    return request.param


@pytest.fixture
async def store(store_backend: StoreBackend, tmp_path: Path) -> AsyncIterator[Store]:
    store = store_backend.make(tmp_path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def restart(store_backend: StoreBackend, tmp_path: Path) -> AsyncIterator[Restart]:
    """Return a function that closes a store and opens it again, as a new object where the backend is durable."""
    reopened: list[Store] = []

    async def again(store: Store) -> Store:
        await store.close()
        store = store_backend.make(tmp_path) if store_backend.durable else store
        reopened.append(store)
        return store

    yield again
    for store in reopened:
        await store.close()
