"""What is submitted: the files of a directory or an archive, with a job configuration at the root."""

import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.client.config import CONFIG, JobConfig, read_config, replace_job_id

SKIPPED: Final = frozenset({".git", ".hg", ".svn", "__pycache__"})
"""Names of directories that stay at home."""
MAX_FILES: Final = 2000
MAX_BYTES: Final = 64 * 2**20
"""Bytes of all files together, before they are compressed."""
MAX_ARCHIVE: Final = 32 * 2**20
"""Bytes of the archive, what a worker of ours takes by default."""

_MODE: Final = (stat.S_IFREG | 0o644) << 16
_UNIX: Final = 3


class Submission(Struct, frozen=True, kw_only=True):
    """Files by their relative names, which have slashes, and what the configuration among them says."""

    files: dict[str, bytes]
    config: JobConfig

    @classmethod
    def of(cls, files: dict[str, bytes], source: str) -> Self:
        """Return a submission of files.

        Raises:
            CrossdockError: ``invalid`` if there is no configuration among them, or it cannot be understood.
        """
        if CONFIG not in files:
            raise CrossdockError(Code.INVALID, f"{source} has no {CONFIG}, which says what is to be done")
        return cls(files=dict(sorted(files.items())), config=read_config(files[CONFIG]))

    def with_job_id(self, job: str) -> "Submission":
        """Return the submission with another ``job-id`` in its configuration: a worker wants that of the job there."""
        files = {**self.files, CONFIG: replace_job_id(self.files[CONFIG], job)}
        return Submission(files=files, config=msgspec.structs.replace(self.config, job_id=job))

    def zipped(self) -> bytes:
        """Return the files as a zip. The same files always make the same bytes.

        Raises:
            CrossdockError: ``too_large``.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                entry = zipfile.ZipInfo(name)  # which is dated 1980, the first year a zip knows
                entry.create_system = _UNIX
                entry.external_attr = _MODE
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
        if buffer.tell() > MAX_ARCHIVE:
            raise CrossdockError(Code.TOO_LARGE, f"the archive has {buffer.tell()} bytes, at most {MAX_ARCHIVE} can be sent")
        return buffer.getvalue()


def read_submission(path: Path) -> Submission:
    """Return what is in a directory or in an archive (zip, or tar with any of its compressions).

    An archive may have everything in one directory at its top, as version control systems pack it.

    Raises:
        CrossdockError: ``invalid`` or ``too_large``, with what is wrong with it.
    """
    try:
        if path.is_dir():
            return Submission.of(_read(_walk(path)), str(path))
        with _as_invalid(path):
            files = _read(_unzip(path) if zipfile.is_zipfile(path) else _untar(path))
    except OSError as error:
        raise CrossdockError(Code.INVALID, f"{error.filename or path}: {error.strerror or error}") from error
    return Submission.of(_without_top(files), str(path))


@contextmanager
def _as_invalid(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        text = f"{path} is neither a directory nor an archive that can be read: {error}"
        raise CrossdockError(Code.INVALID, text) from error


def _read(found: Iterator[tuple[str, int, IO[bytes]]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    for name, size, stream in found:
        with stream:
            content = stream.read(min(size, left) + 1)
        left -= len(content)
        if left < 0:
            raise CrossdockError(Code.TOO_LARGE, f"the files have more than {MAX_BYTES} bytes")
        if len(files) >= MAX_FILES:
            raise CrossdockError(Code.TOO_LARGE, f"there are more than {MAX_FILES} files")
        files[_checked(name)] = content
    return files


def _checked(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CrossdockError(Code.INVALID, f"the name {name!a} is no UTF-8") from None
    if not parts or ".." in parts or name.startswith("/") or "\\" in name or not name.isprintable():
        raise CrossdockError(Code.INVALID, f"{name!a} is no name for a file of a submission")
    return "/".join(parts)


def _walk(root: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in [*folders, *sorted(names)]:
            path = Path(folder, name)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode):
                raise CrossdockError(Code.INVALID, f"{path} is a link or no file; workers take neither")
            yield path.relative_to(root).as_posix(), found.st_size, path.open("rb")


def _raise(error: OSError) -> None:
    raise error


def _unzip(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() and not _skipped(entry.filename):
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise CrossdockError(Code.INVALID, f"{entry.filename!a} is a link or no file; workers take neither")
                yield entry.filename, entry.file_size, archive.open(entry)


def _untar(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            if not member.isdir() and not _skipped(member.name):
                if stream is None:
                    raise CrossdockError(Code.INVALID, f"{member.name!a} is a link or no file; workers take neither")
                yield member.name, member.size, stream


def _skipped(name: str) -> bool:
    return not SKIPPED.isdisjoint(name.split("/")[:-1])


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    tops = {name.partition("/")[0] for name in files}
    top = f"{next(iter(tops))}/" if len(tops) == 1 else ""
    if not top or CONFIG in files or f"{top}{CONFIG}" not in files:
        return files
    return {name.removeprefix(top): content for name, content in files.items()}
