"""Unpacking: hostile archives are refused, honest ones arrive whole, and nothing outside is ever touched."""

import bz2
import io
import lzma
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossdock.runners.program import tree
from crossdock.runners.program.archives import ArchiveLimits, Refused, unpack
from unit.program.archives import CASES, member, quoting, raw_zip, special, tarred, with_comment, zipped

HEAP = 64 << 20
SECONDS = 2.0
"""Of this process's time, since how busy the machine is is no fault of an archive."""


def extract(archive: bytes, folder: Path, limits: ArchiveLimits | None = None) -> int:
    """Unpack into ``folder/a/b/inside``; fail if anything else appears below ``folder``."""
    inside = folder / "a/b/inside"
    inside.mkdir(parents=True)
    descriptor = tree.open_directory(inside)
    source = folder / "archive"
    source.write_bytes(archive)
    try:
        with source.open("rb") as file:
            return unpack(file, descriptor, limits)
    finally:
        os.close(descriptor)
        outside = [path for path in folder.rglob("*") if not path.is_relative_to(inside) and not inside.is_relative_to(path)]
        assert outside == [source]
        assert all(path.is_dir() or path.is_file() for path in inside.rglob("*"))
        assert not any(path.is_symlink() for path in inside.rglob("*"))


def content(folder: Path) -> dict[str, bytes]:
    inside = folder / "a/b/inside"
    return {str(path.relative_to(inside)): path.read_bytes() for path in inside.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CASES)
def test_known_cases(name: str, tmp_path: Path) -> None:
    make, wanted = CASES[name]
    archive = make()
    tracemalloc.start()
    begun = time.process_time()
    try:
        extract(archive, tmp_path)
        fine = True
    except Refused:
        fine = False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert wanted in (None, fine)
    assert peak < HEAP
    assert time.process_time() - begun < SECONDS
    assert sum(len(data) for data in content(tmp_path).values()) <= ArchiveLimits().total


LONG = "a-directory-with-a-name-of-some-length/" * 4 + "and-a-file-whose-name-is-long-too.txt"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_all_kinds(mode: str, form: int, tmp_path: Path) -> None:
    big = os.urandom(200_000)
    members = [(member("d", tarfile.DIRTYPE), None), (member("d/x"), b"1"), (member(LONG), b"2"), (member("big"), big)]
    assert extract(tarred([*members, (member("ž"), b"")], mode, form), tmp_path) == 5
    assert content(tmp_path) == {"d/x": b"1", LONG: b"2", "big": big, "ž": b""}


def test_a_tar_of_the_first_unix(tmp_path: Path) -> None:
    block = bytearray(tarred([(member("a"), b"hello")], form=tarfile.USTAR_FORMAT))
    block[156:157] = b"\0"
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    extract(bytes(block), tmp_path)
    assert content(tmp_path) == {"a": b"hello"}


def test_lzma_and_several_streams(tmp_path: Path) -> None:
    plain = tarred([(member("a"), b"hello")])
    (tmp_path / "1").mkdir()
    extract(lzma.compress(plain, lzma.FORMAT_ALONE), tmp_path / "1")
    (tmp_path / "2").mkdir()
    extract(bz2.compress(plain[:700]) + bz2.compress(plain[700:]) + bytes(100), tmp_path / "2")
    assert content(tmp_path / "1") == content(tmp_path / "2") == {"a": b"hello"}


def test_zips_stored_and_with_descriptors(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("stored", b"1" * 100_000)
        archive.mkdir("empty")
        with archive.open("deflated", "w") as file:
            file.write(os.urandom(100_000))
        archive.writestr(special("program", 0o100755), b"#!")
    extract(buffer.getvalue(), tmp_path)
    assert set(content(tmp_path)) == {"stored", "deflated", "program"}
    assert (tmp_path / "a/b/inside/empty").is_dir()
    assert (tmp_path / "a/b/inside/program").stat().st_mode & 0o777 == 0o644


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise OSError

    def tell(self) -> int:
        raise OSError


def test_a_zip_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"hello" * 1000)
    extract(pipe.getvalue(), tmp_path)
    assert content(tmp_path) == {"a": b"hello" * 1000}


def changed(archive: bytes, before: bytes, after: bytes) -> bytes:
    assert before in archive
    return archive.replace(before, after, 1)


HONEST = zipped(("name", b"content" * 100))

REFUSED = {
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
    "RAR": b"Rar!\x1a\x07\x01\x00" + bytes(100),
    "zip with a wrong checksum": raw_zip(b"a", b"content").replace(b"content", b"Content"),
    "zip whose headers name a member differently": changed(HONEST, b"name", b"game"),
    "zip encrypted": raw_zip(b"a", flags=1),
    "zip of an unknown compression": raw_zip(b"a", method=9),
    "zip with a name that is marked as UTF-8 and is not": raw_zip(b"\xff", flags=0x800),
    "zip64": HONEST[:-12] + b"\xff\xff\xff\xff" + HONEST[-8:],
    "zip with a comment of the wrong length": HONEST[:-2] + b"\7\0",
    "zip of several disks": HONEST[:-18] + b"\1\0" + HONEST[-16:],
    "zip with something in front": b"PK\7\7" + HONEST,
    "zip with more entries than it says": zipped(("a", b""), ("b", b""))[:-14]
    + b"\1\0\1\0"
    + zipped(("a", b""), ("b", b""))[-10:],
    "zip without a name": raw_zip(b""),
    "zip with a name of a NUL": raw_zip(b"a\0b"),
    "tar with a damaged header": changed(tarred([(member("a"), b"x")]), b"a\0", b"b\0"),
    "tar with a name that is not UTF-8": tarred([(member("a\udcff"), b"x")], form=tarfile.GNU_FORMAT),
    "tar of a sparse file": tarred([(member("a", tarfile.GNUTYPE_SPARSE), None)], form=tarfile.GNU_FORMAT),
    "tar with a long name of 2 MB": tarred([(member("n" * (2 << 20)), b"")], form=tarfile.GNU_FORMAT),
    "tar.gz with a header of 2 MB": with_comment(2 << 20),
    "tar.xz that asks for 64 MB": lzma.compress(tarred([(member("a"), b"x")]), preset=9),
    "tar.gz with rubbish behind it": tarred([(member("a"), b"x")], "w:gz") + b"rubbish",
    "tar of a file in a file": tarred([(member("a"), b"x"), (member("a/b"), b"x")]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        extract(REFUSED[name], tmp_path)


@pytest.mark.parametrize("size", [10 << 20, 500_000])
@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_what_swells_too_much_is_a_bomb_unless_it_is_small(size: int, form: str, tmp_path: Path) -> None:
    content = bytes(size)
    archive = zipped(("a", content)) if form == "zip" else tarred([(member("a"), content)], "w:gz")
    if size < 1 << 20:
        assert extract(archive, tmp_path) == 1
    else:
        with pytest.raises(Refused, match="swells"):
            extract(archive, tmp_path)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(quoting())) as archive:  # others read it
        assert archive.read("b") == b"content"
    with pytest.raises(Refused, match="overlap"):
        extract(quoting(), tmp_path)


def test_streams_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="streams"):
        extract(bz2.compress(b"") * 50_000, tmp_path)


def test_a_name_is_not_written_twice(tmp_path: Path) -> None:
    target = tmp_path / "a/b/inside"
    target.mkdir(parents=True)
    (target / "name").symlink_to(tmp_path / "elsewhere")
    descriptor = tree.open_directory(target)
    archive = tmp_path / "archive"
    archive.write_bytes(HONEST)
    with archive.open("rb") as file, pytest.raises(Refused, match="already"):
        unpack(file, descriptor)
    os.close(descriptor)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        (ArchiveLimits(archive=100), "bytes"),
        (ArchiveLimits(members=1), "members"),
        (ArchiveLimits(total=1000), "content"),
        (ArchiveLimits(depth=1), "deep"),
    ],
)
def test_limits(limits: ArchiveLimits, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=complaint):
        extract(zipped(("d/a", os.urandom(600)), ("d/b", os.urandom(600))), tmp_path, limits)


# Fuzzing. The long form is `make fuzz`.

NAMES = st.one_of(
    st.text(min_size=0, max_size=12),
    st.sampled_from(["a", "A", "a/b", "../x", "/x", "a/../../x", ".", "./", "a//b", "é", "e\u0301", "con", "a\\b", LONG]),
)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=600)), max_size=6)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"S", b"g", b"7"]
)


def build(files: list[tuple[str, bytes]], form: str, kinds: list[bytes]) -> bytes:
    """Make an archive of these files in some form, as far as the library will."""
    if form == "zip":
        return zipped(*((name, data) for name, data in files if name.partition("\0")[0]))
    members = [
        (member(name.encode("utf-8", "replace").decode(), kind, "/etc"), data if kind == tarfile.REGTYPE else None)
        for (name, data), kind in zip(files, kinds, strict=False)
    ]
    return tarred(members, form)


MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "cut", "copy"]), st.binary(max_size=8)), max_size=6
)


def mutate(archive: bytes, mutations: list[tuple[float, str, bytes]]) -> bytes:
    for place, kind, data in mutations:
        at = int(place * len(archive))
        if kind == "set":
            archive = archive[:at] + data + archive[at + len(data) :]
        elif kind == "cut":
            archive = archive[:at] + archive[at + len(data) * 16 :]
        else:
            archive = archive[:at] + archive[at // 2 : at] + archive[at:]
    return archive


def never_harmful(archive: bytes, folder: Path) -> None:
    tracemalloc.start()
    begun = time.process_time()
    try:
        extract(archive, folder)
    except Refused:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < HEAP
    assert time.process_time() - begun < SECONDS


@given(
    st.one_of(FILES, FILES),
    st.sampled_from(["zip", "w", "w:gz", "w:bz2", "w:xz"]),
    st.lists(KINDS, min_size=6, max_size=6),
    MUTATIONS,
)
def test_mutated_archives(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[str, bytes]],
    form: str,
    kinds: list[bytes],
    mutations: list[tuple[float, str, bytes]],
) -> None:
    never_harmful(mutate(build(files, form, kinds), mutations), tmp_path_factory.mktemp("fuzz"))


@given(
    st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"]\x00\x00"]),
    st.binary(max_size=3000),
)
@example(b"PK\5\6", struct.pack("<4H2LH", 0, 0, 65534, 65534, 0, 0, 0))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    never_harmful(head + rest, tmp_path_factory.mktemp("fuzz"))
