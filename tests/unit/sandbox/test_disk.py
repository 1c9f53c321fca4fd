"""Counting files that somebody hostile has made."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossdock.runners.program.sandbox.disk import DEEPEST, Hidden, TooDeep, Used, give, used

MB = 2**20


def never(found: Used) -> bool:
    del found
    return False


def test_all_that_lies_below_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/data").write_bytes(os.urandom(MB))
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 100 * MB)
    found = used(tmp_path, never)
    assert found.inodes == 4
    assert MB <= found.bytes < 2 * MB


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/data").write_bytes(b"x" * MB)
    (tmp_path / "box").mkdir()
    (tmp_path / "box/link").symlink_to(tmp_path / "outside")
    found = used(tmp_path / "box", never)
    assert found.inodes == 1
    assert found.bytes < MB


def test_it_stops_once_it_knows_enough(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert used(tmp_path, lambda found: found.inodes > 10).inodes == 11


def test_directories_without_permissions_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/file").touch()
    (tmp_path / "hidden").chmod(0)
    tmp_path.chmod(0)
    try:
        assert used(tmp_path, never).inodes == 2
    finally:
        tmp_path.chmod(0o700)


def test_nesting_has_an_end(tmp_path: Path) -> None:
    place = tmp_path
    for _ in range(DEEPEST + 1):
        place /= "d"
        place.mkdir()
    with pytest.raises(TooDeep):
        used(tmp_path, never)
    place.rmdir()
    place.parent.rmdir()
    assert used(tmp_path, never).inodes == DEEPEST - 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_are_given_but_not_those_that_have_other_names(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/shared").touch()
    box = tmp_path / "box"
    (box / "folder").mkdir(parents=True)
    (box / "folder/own").touch()
    (box / "link").symlink_to(tmp_path / "cache")
    os.link(tmp_path / "cache/shared", box / "shared")
    give(box, 60999)
    owners = {path.name: path.lstat().st_uid for path in (box, *box.rglob("*"))}
    assert owners == {"box": 60999, "folder": 60999, "own": 60999, "link": 60999, "shared": 0}
    assert (tmp_path / "cache").stat().st_uid == 0


@contextmanager
def as_ordinary_user() -> Iterator[Path]:
    """Give a directory of a user who has no rights over others' files, and be that user."""
    folder = Path(tempfile.mkdtemp(prefix="crossdock-test-", dir="/var/tmp"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 60999, 60999)
        os.seteuid(60999)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0, 0o400, 0o100, 0o600])
@pytest.mark.parametrize("hidden", [".", "a"])
def test_permissions_hide_nothing_from_an_ordinary_user(mode: int, hidden: str) -> None:
    with as_ordinary_user() as folder:
        (folder / "a/b").mkdir(parents=True)
        (folder / "a/b/file").touch()
        (folder / "z").touch()
        (folder / hidden).chmod(mode)
        assert used(folder, never).inodes == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories that are not ours")
@pytest.mark.parametrize("mode", [0o700, 0o744])
def test_what_stays_hidden_counts_as_too_much(mode: int) -> None:
    with as_ordinary_user() as folder:
        os.seteuid(0)
        (folder / "locked").mkdir()
        (folder / "locked/file").touch()
        (folder / "locked").chmod(mode)
        os.seteuid(60999)
        with pytest.raises(Hidden):
            used(folder, never)
