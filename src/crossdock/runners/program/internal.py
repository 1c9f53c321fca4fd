"""Internal tasks: what the worker itself does with the files of a job (docs/protocols/job-config.md, "Internal tasks").

They touch nothing outside of the job's directories and follow no links.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from crossdock.runners.program import tree
from crossdock.runners.program.archives import ArchiveLimits, Refused, unpack
from crossdock.runners.program.endings import EvaluationErrored, EvaluationFailed, TaskFailed
from crossdock.runners.program.packing import TooMuch, pack
from crossdock.runners.program.tree import Entry, Parts
from crossdock.runners.program.workspace import Workspace
from crossdock.runners.program.yamltext import integer

FETCH: Final = "fetch"
"""The one that needs the network, done elsewhere."""

_KIB: Final = 1024
_MANY: Final = 1_000_000
_ARGUMENTS: Final[dict[str, tuple[int, int]]] = {
    "cp": (2, 2),
    "mkdir": (1, _MANY),
    "rename": (2, 2),
    "rm": (1, _MANY),
    "archivate": (2, 2),
    "extract": (2, 2),
    FETCH: (2, 2),
    "truncate": (2, 2),
    "dumpdir": (3, _MANY),
    "exists": (2, _MANY),
}
_PATTERN: Final = 1000
"""Characters of a pattern for ``dumpdir`` at most: the library's translation takes their square."""
_NUMBERS: Final = {"truncate": 1, "dumpdir": 2}
"""Which argument is a number of KiB."""


def check(name: str, arguments: Sequence[str]) -> None:
    """Make sure that an internal task is one that exists, with the arguments it needs.

    Raises:
        EvaluationErrored: it is not.
    """
    if name not in _ARGUMENTS:
        raise EvaluationErrored(f"there is no internal task {name[:80]!r}")
    least, most = _ARGUMENTS[name]
    if not least <= len(arguments) <= most:
        raise EvaluationErrored(f"{name} takes {least if least == most else f'at least {least}'} arguments")
    if name in _NUMBERS:
        number = integer(arguments[_NUMBERS[name]])
        if number is None or number < 0:
            raise EvaluationErrored(f"{name} takes a number of KiB, not {arguments[_NUMBERS[name]][:80]!r}")
    if name == "dumpdir" and any(len(pattern) > _PATTERN for pattern in arguments[3:]):
        raise EvaluationErrored(f"{name} takes patterns of at most {_PATTERN} characters")


class InternalTasks:
    """Runs internal tasks but ``fetch``. Its methods block: call :meth:`run` in a thread.

    Args:
        workspace: the job's directories.
        archive: what ``extract`` puts up with.
        max_packed: bytes that ``archivate`` packs at most.
    """

    def __init__(self, workspace: Workspace, archive: ArchiveLimits, max_packed: int) -> None:
        self._workspace = workspace
        self._archive = archive
        self._max_packed = max_packed
        self._tasks: dict[str, Callable[..., None]] = {
            "cp": self._cp,
            "mkdir": self._mkdir,
            "rename": self._rename,
            "rm": self._rm,
            "archivate": self._archivate,
            "extract": self._extract,
            "truncate": self._truncate,
            "dumpdir": self._dumpdir,
            "exists": self._exists,
        }

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run a task that was checked.

        Raises:
            TaskFailed: it did not work out.
            EvaluationFailed: it is one that makes no sense here, which ends the job.
        """
        try:
            self._tasks[name](*arguments)
        except (OSError, Refused, TooMuch) as error:
            raise TaskFailed(f"{name}: {_reason(error)}") from error

    def _cp(self, source: str, target: str) -> None:
        root, parts = self._workspace.locate(source)
        if not parts:
            raise TaskFailed(f"cp: {source} is a directory of the job itself")
        pattern = re.sub(r"\*+", "*", parts[-1])
        found = [entry for entry in tree.children(root, parts[:-1]) if _matches(entry.parts[-1], pattern)]
        to, place = self._workspace.locate(target)
        for entry in found:
            there = tree.look(to, place)
            self._copy(root, entry, to, (*place, entry.parts[-1]) if there and there.directory else place)

    def _copy(self, root: int, entry: Entry, to: int, place: Parts) -> None:
        if not entry.directory:
            _copy_file(root, entry, to, place)
            return
        below = list(tree.walk(root, entry.parts))
        tree.make_directories(to, place)
        for each in below:
            name = (*place, *each.parts[len(entry.parts) :])
            if each.directory:
                tree.make_directories(to, name)
            else:
                _copy_file(root, each, to, name)

    def _mkdir(self, *paths: str) -> None:
        made: list[tuple[int, list[Parts]]] = []
        try:
            for path in paths:
                root, parts = self._workspace.locate(path)
                made.append((root, []))
                tree.make_directories(root, parts, 0o777, made[-1][1])
        except OSError:
            for root, directories in reversed(made):
                for parts in reversed(directories):
                    tree.remove(root, parts)
            raise

    def _rename(self, source: str, target: str) -> None:
        (root, parts), (to, place) = self._workspace.locate(source), self._workspace.locate(target)
        if not parts or not place:
            raise TaskFailed("rename: a directory of the job itself stays where it is")
        with tree.descend(root, parts[:-1]) as above, tree.descend(to, place[:-1]) as there:
            os.rename(parts[-1], place[-1], src_dir_fd=above, dst_dir_fd=there)

    def _rm(self, *paths: str) -> None:
        for path in paths:
            root, parts = self._workspace.locate(path)
            if not parts:
                raise TaskFailed(f"rm: {path} is a directory of the job itself")
            with suppress(NotADirectoryError):
                tree.remove(root, parts)

    def _archivate(self, directory: str, file: str) -> None:
        (root, parts), (to, place) = self._workspace.locate(directory), self._workspace.locate(file)
        if not place:
            raise TaskFailed(f"archivate: {file} is a directory")
        with tree.create_file(to, place, replace=True) as target:
            pack(root, parts, target, PurePosixPath(place[-1]).stem, self._max_packed)

    def _extract(self, file: str, directory: str) -> None:
        (root, parts), (to, place) = self._workspace.locate(file), self._workspace.locate(directory)
        with tree.open_file(root, parts) as source, tree.descend(to, place) as destination:
            unpack(source, destination, self._archive, replace=True)

    def _truncate(self, file: str, size: str) -> None:
        root, parts = self._workspace.locate(file)
        limit = _kibibytes(size)
        try:
            with tree.open_file(root, parts, write=True) as found:
                if os.fstat(found.fileno()).st_size > limit:
                    found.truncate(limit)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise EvaluationFailed(f"truncate: there is no file {file[:200]!r}") from error

    def _dumpdir(self, source: str, target: str, size: str, *excluded: str) -> None:
        (root, parts), (to, place) = self._workspace.locate(source), self._workspace.locate(target)
        try:
            files = [entry for entry in tree.walk(root, parts) if not entry.directory]
        except OSError as error:
            raise EvaluationFailed(f"dumpdir: there is no directory {source[:200]!r}") from error
        left = _kibibytes(size)
        for entry in sorted(files, key=lambda entry: (entry.size, entry.parts)):
            relative = entry.parts[len(parts) :]
            if any(fnmatch.fnmatchcase("/".join(relative), pattern) for pattern in excluded):
                continue
            tree.make_directories(to, (*place, *relative[:-1]))
            if entry.size <= left:
                left -= entry.size
                _copy_file(root, entry, to, (*place, *relative))
            else:
                with tree.create_file(to, (*place, *relative[:-1], f"{relative[-1]}.skipped")) as mark:
                    mark.write(b" ")

    def _exists(self, message: str, *paths: str) -> None:
        for path in paths:
            root, parts = self._workspace.locate(path)
            if tree.look(root, parts) is None:
                raise TaskFailed(f"{path} is not there", message)


def _copy_file(root: int, entry: Entry, to: int, place: Parts) -> None:
    if not place:
        raise TaskFailed("a directory of the job itself is no place for a file")
    with tree.open_file(root, entry.parts) as source, tree.create_file(to, place, entry.mode) as target:
        tree.copy(source, target)


def _matches(name: str, pattern: str) -> bool:
    """Tell whether a name is what a pattern says: ``*`` and ``?`` are special, nothing else.

    Only the last ``*`` is ever tried again, so the time is bounded by the square of the name's length.
    """
    at = of = retry = 0
    star = -1
    while at < len(name):
        if of < len(pattern) and pattern[of] == "*":
            star, retry, of = of, at, of + 1
        elif of < len(pattern) and pattern[of] in ("?", name[at]):
            at, of = at + 1, of + 1
        elif star < 0:
            return False
        else:
            retry += 1
            at, of = retry, star + 1
    return not pattern[of:].strip("*")


def _kibibytes(text: str) -> int:
    return (integer(text) or 0) * _KIB


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
