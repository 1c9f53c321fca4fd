"""The judges that come with Crossdock, made available in boxes."""

import hashlib
import os
import secrets
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from crossdock.runners.program.sandbox.spec import Bind

JUDGES_DIR: Final = "/judges"
"""Where they are in a box (``${JUDGES_DIR}``)."""

_SOURCES: Final = Path(__file__).parent / "judges"
_JUDGES: Final = {
    "recodex-token-judge": "token_judge.py",
    "recodex-judge-normal": "normal_judge.py",
    "recodex-judge-shuffle": "shuffle_judge.py",
    "recodex-judge-filter": "comment_filter.py",
    "recodex-judge-passthrough": "passthrough_judge.py",
    "recodex-data-only-wrapper.sh": "data_only_wrapper.sh",
}
_SHARED: Final = Path("/var/cache/crossdock")
_USUAL: Final = "/usr/bin/"
_PYTHON: Final = Path("/usr/bin/python3")


def install_judges(directory: Path) -> None:
    """Write the judges into a directory that boxes can see and only we can write.

    Raises:
        OSError: it cannot be written, or is somebody else's.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{directory} can be written by others")
    directory.chmod(0o755)
    for name, text in _texts().items():
        new = directory / f".{name}.{secrets.token_hex(4)}"
        new.write_bytes(text)
        new.chmod(0o755)
        new.replace(directory / name)


def judges_directory(working_directory: Path) -> Path:
    """Return where the judges of this version are installed.

    As root that is a place that the users of boxes reach, whoever may look into the working directory.
    """
    if os.geteuid() != 0:
        return working_directory / "judges"
    return _SHARED / f"judges-{_version()}"


@lru_cache
def _version() -> str:
    return hashlib.sha256(b"\0".join(_texts().values())).hexdigest()[:16]


def judges_bind(working_directory: Path) -> Bind:
    """Return what makes the judges visible in a box."""
    return Bind(target=JUDGES_DIR, source=judges_directory(working_directory))


def _texts() -> dict[str, bytes]:
    """Return the judges as they are installed: with the interpreter that is to be had here."""
    first = f"#!{_interpreter()} -IS\n".encode()
    found: dict[str, bytes] = {}
    for name, source in _JUDGES.items():
        text = (_SOURCES / source).read_bytes()
        found[name] = first + text.partition(b"\n")[2] if source.endswith(".py") else text
    return found


def judge_path(binary: str) -> str:
    """Return where a judge really is, if that is what is called by the path that ReCodEx installs it at."""
    name = binary.removeprefix(_USUAL)
    return f"{JUDGES_DIR}/{name}" if binary.startswith(_USUAL) and name in _JUDGES else binary


def _interpreter() -> Path:
    """Return a Python that is to be seen in a box: one below /usr."""
    real = Path(sys.executable).resolve()
    return real if not _PYTHON.exists() and real.is_relative_to("/usr") else _PYTHON
