"""What the evaluation of programs may use on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossdock.runners.program.archives import ArchiveLimits
from crossdock.runners.program.sandbox.spec import Bind

ALTERNATIVES: Final = Bind(target="/etc/alternatives", source=Path("/etc/alternatives"), optional=True)
"""Where Debian's links to compilers lead."""


class FileManager(Struct, frozen=True):
    """Credentials for the URLs that begin with ``prefix``, which are always allowed."""

    prefix: str
    username: str = ""
    password: str = ""


class WorkerLimits(Struct, frozen=True, kw_only=True):
    """The most that a task may have, and what it has if its configuration does not say. Seconds and bytes; 0: no limit.

    ``disk``, ``disk_files`` and ``memory`` cannot be without a limit.
    """

    time: float = 60.0
    wall_time: float = 180.0
    extra_time: float = 1.0
    memory: int = 2**30
    extra_memory: int = 0
    stack: int = 0
    processes: int = 64
    disk: int = 2**30
    disk_files: int = 20_000
    scratch: int = 256 * 2**20
    open_files: int = 256


class EvaluationSettings(Struct, frozen=True, kw_only=True):
    """How this worker evaluates. Sizes are bytes, durations seconds.

    ``network``: tasks of type initiation reach the network of this machine.
    ``bindable`` are directories of this machine that a job configuration may have bound into a box, besides its own. The
    file cache is kept below ``cache_size``. ``max_file`` bounds a file that is fetched, ``max_results`` what is packed.
    """

    working_directory: Path
    cache_directory: Path
    worker_id: int = 1
    group: str = "default"
    limits: WorkerLimits = WorkerLimits()
    archive: ArchiveLimits = ArchiveLimits()
    max_output: int = 64 * 1024
    max_carboncopy: int = 2**20
    max_file: int = 256 * 2**20
    max_results: int = 256 * 2**20
    cache_size: int = 2**30
    cleanup: bool = True
    no_locks: bool = False
    network: bool = False
    file_managers: tuple[FileManager, ...] = ()
    environment: Mapping[str, str] = {}
    binds: tuple[Bind, ...] = (ALTERNATIVES,)
    bindable: tuple[Path, ...] = ()
