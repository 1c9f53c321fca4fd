"""The directories of one evaluation, which nobody else can look into, and the paths that its configuration may name."""

import hashlib
import os
import posixpath
import re
from pathlib import Path
from typing import Final

from crossdock.runners.program import tree
from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.tree import Parts

SOURCE: Final = "eval"
RESULT: Final = "results"
TEMP: Final = "temp"
DOWNLOADS: Final = "downloads"
_KINDS: Final = (SOURCE, RESULT, TEMP, DOWNLOADS)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Workspace:
    """Four directories, ``<working directory>/<kind>/<worker id>/<job>``, made empty; close it in the end.

    Args:
        working_directory: of this worker.
        worker_id: its number.
        job: the job's id, any text.

    Raises:
        OSError: they cannot be made, or what was there cannot be removed.
    """

    def __init__(self, working_directory: Path, worker_id: int, job: str) -> None:
        self._working_directory = working_directory.absolute()
        self._name = directory_name(job)
        self._worker_id = worker_id
        self._open: dict[str, int] = {}
        self.clean()
        for kind in _KINDS:
            self._path(kind).mkdir(mode=0o700)
            self._open[kind] = tree.open_directory(self._path(kind))

    @property
    def source(self) -> Path:
        """Where the submission is (``SOURCE_DIR``)."""
        return self._path(SOURCE)

    @property
    def result(self) -> Path:
        """What becomes the results archive (``RESULT_DIR``)."""
        return self._path(RESULT)

    @property
    def temp(self) -> Path:
        """A place for anything else (``TEMP_DIR``)."""
        return self._path(TEMP)

    def descriptor(self, kind: str) -> int:
        """Return the open directory of a kind."""
        return self._open[kind]

    def settle(self, parts: Parts) -> None:
        """Make a directory that was unpacked in the downloads the source. Raises ``OSError``."""
        self._path(SOURCE).rmdir()
        os.close(self._open.pop(SOURCE))
        with tree.descend(self._open[DOWNLOADS], parts[:-1]) as above:
            os.rename(parts[-1], self._path(SOURCE), src_dir_fd=above)
        self._open[SOURCE] = tree.open_directory(self._path(SOURCE))
        os.fchmod(self._open[SOURCE], 0o700)

    def locate(self, text: str) -> tuple[int, Parts]:
        """Return the directory of ours that a path in the configuration leads into, and the rest.

        A relative path is in the source.

        Raises:
            EvaluationFailed: it leads anywhere else.
        """
        if "\0" in text:
            raise EvaluationFailed("a path has a NUL in it")
        path = posixpath.normpath(posixpath.join(str(self.source), text))
        for kind in (SOURCE, RESULT, TEMP):
            root = str(self._path(kind))
            if path == root or path.startswith(f"{root}/"):
                return self._open[kind], tuple(part for part in path[len(root) :].split("/") if part)
        raise EvaluationFailed(f"{text[:200]!r} is outside of the job's directories")

    def clean(self) -> None:
        """Remove what is there. Raises ``OSError``."""
        self.close()
        for kind in _KINDS:
            above = self._path(kind).parent
            above.mkdir(mode=0o711, parents=True, exist_ok=True)
            root = tree.open_directory(above)
            try:
                tree.remove(root, (self._name,))
            finally:
                os.close(root)

    def close(self) -> None:
        """Close the directories."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _path(self, kind: str) -> Path:
        return self._working_directory / kind / str(self._worker_id) / self._name


def directory_name(job: str) -> str:
    """Return a name for the directory of a job: its id if that is harmless, else something like it that is as unique."""
    if _PLAIN.fullmatch(job):
        return job
    digest = hashlib.sha256(job.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{digest}-{re.sub(r'[^A-Za-z0-9_-]', '_', job[:60])}"
