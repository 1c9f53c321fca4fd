"""Builds the first process of boxes from its source, once for each version of it, with the compiler of the machine."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_SOURCES: Final = tuple(Path(__file__).with_name(name) for name in ("init.c", "confine.c", "confine.h"))
_COMPILED: Final = [str(source) for source in _SOURCES if source.suffix == ".c"]
_FLAGS: Final = (("-static",), ())
"""Static first: a dynamic program needs libraries inside the box."""
_BUILD_SECONDS: Final = 60.0


class CannotBuild(Exception):
    """There is no first process to be had; the text says why and what to do."""


def init_program() -> Path:
    """Return the path of the first process, built now if it has not been.

    Raises:
        CannotBuild: no compiler, a compiler that fails, or no place to keep what it makes.
    """
    text = b"".join(source.read_bytes() for source in _SOURCES)
    name = f"init-{platform.machine()}-{hashlib.sha256(text).hexdigest()[:16]}"
    try:
        place = cache_folder()
        built = place / name
        if not _ours(built):
            _build(built)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"the first process of boxes cannot be made: {error}") from error
    return built


def cache_folder() -> Path:
    """Return a directory that is ours alone to write and everybody's to read, since boxes have users of their own."""
    if os.geteuid() == 0:
        place = Path("/var/cache/crossdock")
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdock"
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not _ours(place):
        raise PermissionError(f"{place} can be written by others")
    return place


def _ours(path: Path) -> bool:
    """Tell whether a path exists and can be written by nobody else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _build(built: Path) -> None:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        raise CannotBuild("no C compiler; install one (apt-get install gcc libc6-dev), it is needed once")
    said = ""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        for flags in _FLAGS:
            made = Path(folder) / "init"
            command = [compiler, "-Os", *flags, "-o", str(made), *_COMPILED]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)  # noqa: S603
            if done.returncode == 0:
                made.chmod(0o755)
                made.replace(built)
                return
            said = done.stderr.strip()
    raise CannotBuild(f"{compiler} cannot build the first process of boxes: {said[-500:]}")
