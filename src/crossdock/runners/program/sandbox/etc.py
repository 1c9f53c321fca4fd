"""What boxes see of /etc: what toolchains need to work, and nothing with secrets, names or addresses.

Boxes with namespaces see a copy, made once: to mount each piece by itself takes longer than to start the program.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from crossdock.runners.program.sandbox.native import cache_folder

_ETC: Final = Path("/etc")
_PATTERNS: Final = ("ld.so.cache", "alternatives", "localtime", "nsswitch.conf", "ssl/openssl.cnf", "java-*-openjdk")
_NETWORK: Final = ("resolv.conf", "hosts", "services", "protocols", "ssl/certs", "ca-certificates", "pki")
_OWN: Final = {
    "passwd": "root:x:0:0::/root:/bin/sh\nbox:x:1000:1000::/box:/bin/sh\n",
    "group": "root:x:0:\nbox:x:1000:\n",
}


def settings() -> list[Path]:
    """Return what every program may read."""
    return sorted(found for pattern in _PATTERNS for found in _ETC.glob(pattern))


def network_settings() -> list[Path]:
    """Return what programs with the network may read besides."""
    return [_ETC / name for name in _NETWORK if (_ETC / name).exists()]


def copied_settings() -> Path:
    """Return a directory with copies of the settings, and places for those of the network; made if there is none yet.

    Raises:
        OSError: it cannot be made.
    """
    place = cache_folder() / f"etc-{_fingerprint()}"
    if place.exists():
        return place
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        made = Path(folder) / "etc"
        made.mkdir(mode=0o755)
        for path in settings():
            _copy(path, made / path.relative_to(_ETC))
        for path in network_settings():
            _place(made / path.relative_to(_ETC), directory=path.is_dir())
        for name, text in _OWN.items():
            (made / name).write_text(text)
            (made / name).chmod(0o644)
        try:
            made.rename(place)
        except OSError:
            if not place.exists():  # else another process was faster
                raise
    return place


def _fingerprint() -> str:
    """Return a name for what the settings are now."""
    found = [repr((_OWN, [str(path) for path in network_settings()]))]
    for path in settings():
        state = path.stat()
        found.append(f"{path} {state.st_mtime_ns} {state.st_size}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_unreadable, ignore_dangling_symlinks=True)
    else:
        shutil.copy(source, target)


def _unreadable(folder: str, names: list[str]) -> set[str]:
    """Return what not everybody may read: it is nobody's business in a box either."""
    states = {name: os.lstat(os.path.join(folder, name)) for name in names}  # noqa: PTH118 - as copytree gives them
    return {name for name, state in states.items() if not state.st_mode & 0o004}


def _place(target: Path, *, directory: bool) -> None:
    if directory:
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.touch(mode=0o644)
