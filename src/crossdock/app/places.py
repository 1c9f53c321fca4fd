"""Where things are kept: from the URLs of the configuration to stores and artifacts."""

from pathlib import Path

from crossdock.app.clock import SystemClock
from crossdock.artifacts.files import file_artifacts
from crossdock.config import Config, artifacts_path, store_path
from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.ports import Artifacts, Store
from crossdock.signals.local import LocalSignals
from crossdock.stores.memory import MemoryStore
from crossdock.stores.sqlite.store import SqliteStore


def make_broker(config: Config, kinds: dict[str, Kind]) -> Broker:
    """Return the broker of the configured store; it still has to be opened.

    Raises:
        CrossdockError: ``unavailable`` if a directory cannot be made.
    """
    return Broker(
        store=_store(config),
        artifacts=_artifacts(config),
        signals=LocalSignals(),
        clock=SystemClock(),
        kinds=kinds,
        weights={tenant: float(weight) for tenant, weight in config.tenants.weights.items()},
        sweep_every=config.retention.interval,
    )


def _store(config: Config) -> Store:
    path = store_path(config)
    if path is None:
        return MemoryStore()
    make_directory(path.parent)
    return SqliteStore(path, config.store.synchronous)


def _artifacts(config: Config) -> Artifacts:
    path = artifacts_path(config)
    make_directory(path)
    return file_artifacts(path)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, if they are not there.

    Raises:
        CrossdockError: ``unavailable`` if that cannot be done.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CrossdockError(Code.UNAVAILABLE, f"cannot make the directory {directory}: {error.strerror}") from error
