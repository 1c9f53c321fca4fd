"""Where the paths a program sees lie on this machine, and how its streams get there safely.

The program may have left anything in its directory: links, pipes, directories where a file is expected. So nothing there
is opened by following a path that it could bend, and its output goes to a nameless file first.
"""

import os
import posixpath
import stat
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from crossdock.runners.program.sandbox.linux import open_beneath
from crossdock.runners.program.sandbox.spec import Bind, Program

BOX: Final = "/box"
_COPY_BYTES: Final = 2**20


class CannotRun(Exception):
    """What was asked for cannot be done, whatever the box: the text says what."""


class _Place(NamedTuple):
    root: Path
    path: str
    writable: bool


class Target(NamedTuple):
    """A file to be written: its name in the box, an open directory, and its path below that."""

    name: str
    root: int
    path: str

    def deliver(self, spool: int, owner: int | None) -> None:
        """Copy what a program wrote, replacing what is there.

        Raises:
            CannotRun: it cannot be written there.
        """
        try:
            _replace(self.root, self.path, spool, owner)
        except OSError as error:
            raise CannotRun(f"output {self.name}: {error.strerror}") from error


class Layout:
    """The paths of one program.

    Args:
        program: what is to be run.
        directory: where its directory is to be found now.
    """

    def __init__(self, program: Program, directory: Path) -> None:
        self.directory = directory
        self.start = _inside(program.chdir or BOX, BOX)
        self._program = program
        binds = [(_inside(bind.target, "/"), bind) for bind in program.binds]
        self._places = [(BOX, directory, True)]
        self._places += [(target, bind.source, bind.writable) for target, bind in binds if bind.source is not None]

    def check(self) -> None:
        """Look whether what the program needs is there.

        Raises:
            CannotRun: a bound path or the start directory is not.
        """
        for bind in self._program.binds:
            if bind.source is not None and not bind.optional and not bind.source.exists():
                raise CannotRun(f"bound directory {bind.source}: there is none")
        place = self._locate(self.start)
        if not (place.root / place.path).is_dir():
            raise CannotRun(f"start directory {self._program.chdir}: there is none")

    def open_input(self, stack: ExitStack) -> int:
        """Return a descriptor to be the program's standard input.

        Raises:
            CannotRun: there is no such file.
        """
        if self._program.stdin is None:
            return _closed_by(stack, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        place = self._locate(self._program.stdin)
        try:
            root = os.open(place.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                opened = _closed_by(stack, open_beneath(root, place.path, os.O_RDONLY | os.O_NONBLOCK))
            finally:
                os.close(root)
        except OSError as error:
            raise CannotRun(f"standard input {self._program.stdin}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise CannotRun(f"standard input {self._program.stdin}: not a file")
        os.set_blocking(opened, True)
        return opened

    def open_target(self, name: str, stack: ExitStack) -> "Target":
        """Return the file ``name`` that a program was promised its output in.

        The directory it is in is opened now: while the program runs, it could put a link where that was.

        Raises:
            CannotRun: it cannot be written there.
        """
        place = self._locate(name)
        if not place.writable:
            raise CannotRun(f"output {name}: read-only")
        try:
            root = os.open(place.root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise CannotRun(f"output {name}: {error.strerror}") from error
        return Target(name, _closed_by(stack, root), place.path)

    def outside(self, text: str) -> str:
        """Return an argument with the paths it begins with as they are on this machine, for tiers without mounts."""
        for target, source, _ in sorted(self._places, key=lambda place: -len(place[0])):
            for start in (0, text.find("=") + 1):
                if text.startswith(target, start) and text[start + len(target) : start + len(target) + 1] in {"", "/", ":"}:
                    return text[:start] + str(source) + text[start + len(target) :]
        return text

    def _locate(self, name: str) -> _Place:
        path = _inside(name, self.start)
        best = _Place(Path(), "", writable=False)
        length = -1
        for target, root, writable in self._places:
            if (path == target or path.startswith(target.rstrip("/") + "/")) and len(target) > length:
                best, length = _Place(root, path[len(target) :].lstrip("/") or ".", writable), len(target)
        if length < 0:
            raise CannotRun(f"{name} is neither below {BOX} nor below a bound directory")
        return best


class Streams:
    """Standard input, output and error of one program; closed by ``stack``.

    Args:
        layout: where its paths lie.
        program: what it asked for.
        folder: where output is kept while it runs.
        owner: the user of the box, if it has one of its own.
        stack: what closes the descriptors.

    Raises:
        CannotRun: the input is not there.
    """

    def __init__(self, layout: Layout, program: Program, folder: Path, owner: int | None, stack: ExitStack) -> None:
        self._owner = owner
        self.input = layout.open_input(stack)
        merged = program.merge or (program.stderr is not None and program.stderr == program.stdout)
        self.output = self._spool(program.stdout, folder, stack)
        self.errors = self.output if merged else self._spool(program.stderr, folder, stack)
        promised = ((program.stdout, self.output), (None if merged else program.stderr, self.errors))
        self._targets = [(layout.open_target(name, stack), spool) for name, spool in promised if name is not None]

    def size(self) -> int:
        """Return the bytes that output takes now."""
        return sum(os.fstat(spool).st_size for spool in {self.output, self.errors} if stat.S_ISREG(os.fstat(spool).st_mode))

    def deliver(self) -> None:
        """Put output where it was promised.

        Raises:
            CannotRun: it cannot be written there.
        """
        for target, spool in self._targets:
            target.deliver(spool, self._owner)

    def _spool(self, name: str | None, folder: Path, stack: ExitStack) -> int:
        if name is None:
            return _closed_by(stack, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        file = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0, mode="ab+"))  # noqa: SIM115 - the stack is one
        if self._owner is not None:
            os.fchown(file.fileno(), self._owner, self._owner)  # or /dev/stdout could not be opened inside
        return file.fileno()


def absolute(bind: Bind) -> str:
    """Return the path at which a bound directory appears."""
    return _inside(bind.target, "/")


def _inside(path: str, start: str) -> str:
    return posixpath.normpath(posixpath.join("/", start, path))


def _replace(root: int, path: str, spool: int, owner: int | None) -> None:
    parent, name = posixpath.split(path)
    folder = open_beneath(root, parent or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(name, flags, 0o644, dir_fd=folder)
        try:
            if owner is not None:
                os.fchown(target, owner, owner)
            _copy(spool, target)
        finally:
            os.close(target)
    finally:
        os.close(folder)


def _copy(source: int, target: int) -> None:
    offset = 0
    while sent := os.sendfile(target, source, offset, _COPY_BYTES):
        offset += sent


def _closed_by(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
