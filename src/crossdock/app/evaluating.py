"""The runner of evaluations, from the configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from crossdock.app.places import make_directory
from crossdock.config import Config, Evaluation
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.ports import Artifacts
from crossdock.runners.program.archives import ArchiveLimits
from crossdock.runners.program.runner import ProgramRunner
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Tier
from crossdock.runners.program.settings import EvaluationSettings, FileManager, WorkerLimits
from crossdock.runners.program.transfer import HttpFetcher
from crossdock.stores.sqlite.lock import FileLock

_MOST_WORKERS: Final = 1000

_locks: Final[list[FileLock]] = []


async def program_runner(
    config: Config,
    table: Evaluation,
    artifacts: Artifacts,
    base: Path,
    slots: int,
    group: str,
    own: Sequence[FileManager],
) -> tuple[ProgramRunner, Tier]:
    """Return the runner, and the tier of its sandbox, which is started.

    Raises:
        CrossdockError: ``unavailable`` if no sandbox is as good as the configuration demands.
    """
    number, place = _claim(base)
    sandbox = Boxes(place / "boxes", slots=slots, minimum=Tier(table.min_tier))
    await sandbox.start()
    managers = (
        *(FileManager(manager.url, manager.username, manager.password) for manager in table.file_managers),
        *own,
    )
    settings = EvaluationSettings(
        working_directory=place,
        cache_directory=base / "cache",
        worker_id=number,
        group=group,
        limits=_limits(table),
        archive=ArchiveLimits(total=table.max_archive),
        max_output=table.max_output,
        max_carboncopy=table.max_carboncopy,
        cache_size=table.cache,
        cleanup=table.cleanup,
        no_locks=table.no_locks,
        network=table.network,
        file_managers=managers,
        environment=table.environment,
    )
    fetcher = HttpFetcher(managers, config.security.allow_urls)
    return ProgramRunner(sandbox, settings, fetcher, artifacts), sandbox.tier


def _claim(base: Path) -> tuple[int, Path]:
    """Return a number that no other worker on this machine has now, and the directory that goes with it."""
    make_directory(base)
    for number in range(1, _MOST_WORKERS):
        lock = FileLock(base / f"worker-{number}.lock")
        try:
            lock.acquire()
        except CrossdockError:
            continue
        _locks.append(lock)  # until this process ends
        return number, base / f"worker-{number}"
    raise CrossdockError(Code.UNAVAILABLE, f"{base} is used by {_MOST_WORKERS} workers already; give another directory")


def _limits(table: Evaluation) -> WorkerLimits:
    return WorkerLimits(
        time=table.time,
        wall_time=table.wall_time,
        extra_time=table.extra_time,
        memory=table.memory,
        stack=table.stack,
        processes=table.processes,
        disk=table.disk,
        disk_files=table.disk_files,
    )
