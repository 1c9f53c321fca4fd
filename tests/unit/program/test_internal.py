"""The internal tasks, on real directories, with what a job may have put there."""

import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.runners.program import tree
from crossdock.runners.program.archives import ArchiveLimits
from crossdock.runners.program.endings import EvaluationErrored, EvaluationFailed, TaskFailed
from crossdock.runners.program.inside import Inside
from crossdock.runners.program.internal import InternalTasks, check
from crossdock.runners.program.sandbox.spec import Bind
from crossdock.runners.program.workspace import SOURCE, Workspace, directory_name
from unit.program.archives import zipped

Files = dict[str, str]


class Place:
    """A workspace with internal tasks."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "work", 7, "job")
        self.source, self.result, self.temp = self.workspace.source, self.workspace.result, self.workspace.temp
        self._tasks = InternalTasks(self.workspace, ArchiveLimits(), 100_000)

    def write(self, files: Files) -> None:
        for name, text in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, name: str, *arguments: str) -> None:
        places = {"S": str(self.source), "R": str(self.result), "T": str(self.temp)}
        filled = [argument.format(**places) for argument in arguments]
        check(name, filled)
        self._tasks.run(name, filled)

    def fails(self, name: str, *arguments: str) -> str:
        with pytest.raises(TaskFailed) as caught:
            self.run(name, *arguments)
        return str(caught.value)


def files(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "outside").write_text("secret")
    found = Place(tmp_path)
    yield found
    found.workspace.close()
    assert (tmp_path / "outside").read_text() == "secret"


# cp


def test_cp_of_a_file(place: Place) -> None:
    place.write({"a": "1"})
    (place.source / "a").chmod(0o4755)
    place.run("cp", "{S}/a", "{R}/b")
    assert files(place.result) == {"b": "1"}
    assert stat.S_IMODE((place.result / "b").stat().st_mode) == 0o755


def test_cp_into_a_directory_and_of_one(place: Place) -> None:
    place.write({"a": "1", "d/x": "2", "d/e/y": "3"})
    place.run("cp", "{S}/a", "{R}")
    place.run("cp", "{S}/d", "{R}")
    place.run("cp", "{S}/d", "{R}/copy")
    assert files(place.result) == {"a": "1", "d/x": "2", "d/e/y": "3", "copy/x": "2", "copy/e/y": "3"}


def test_cp_with_wildcards(place: Place) -> None:
    place.write({"a1.c": "1", "a22.c": "2", "a3.h": "3", ".c": "4", "a[1].c": "5", "d/x": "6"})
    place.run("cp", "{S}/a?.*", "{R}")
    assert files(place.result) == {"a1.c": "1", "a3.h": "3"}
    place.run("cp", "{S}/*.c", "{T}")
    assert set(files(place.temp)) == {"a1.c", "a22.c", ".c", "a[1].c"}
    place.run("cp", "{S}/a[1].c", "{R}/exact")
    assert (place.result / "exact").read_text() == "5"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("*", "abc"), ("**c", "abc"), ("a*", "abc"), ("?b?", "abc"), ("*b*c*", "abc"), ("*?c", "abc"), ("*b", ""),
     ("????*", ""), ("a.c", ""), ("abcd", ""), ("b*", ""), ("*bc?", "")],
)  # fmt: skip
def test_what_wildcards_stand_for(place: Place, pattern: str, found: str) -> None:
    place.write({"abc": "1"})
    place.run("cp", f"{{S}}/{pattern}", "{R}")
    assert "".join(files(place.result)) == found


def test_wildcards_take_no_time(place: Place) -> None:
    place.write({"a" * 120: "1"})
    begun = time.process_time()
    place.run("cp", "{S}/" + "*a" * 10 + "b", "{R}")
    place.run("dumpdir", "{S}", "{T}/x", "1", *["*a" * 20 + "b", "[a" * 400] * 5)
    assert time.process_time() - begun < 5
    assert files(place.result) == {}


def test_cp_of_nothing_is_fine_but_not_from_nowhere(place: Place) -> None:
    place.run("cp", "{S}/none*", "{R}")
    place.run("cp", "{S}/none", "{R}")
    assert place.fails("cp", "{S}/none/x", "{R}")


def test_cp_replaces_nothing(place: Place) -> None:
    place.write({"a": "1", "b": "2", "d/x": "3"})
    assert place.fails("cp", "{S}/a", "{S}/b")
    assert place.fails("cp", "{S}/*", "{S}/b")
    place.run("cp", "{S}/d", "{R}")
    assert place.fails("cp", "{S}/d", "{R}")
    assert place.fails("cp", "{S}/a", "{R}/none/x")
    assert files(place.source)["b"] == "2"


def test_cp_into_itself_ends(place: Place) -> None:
    place.write({"d/x": "1"})
    place.run("cp", "{S}/d", "{S}/d")
    assert files(place.source) == {"d/x": "1", "d/d/x": "1"}


def test_relative_paths_are_in_the_source(place: Place) -> None:
    place.write({"a": "1"})
    place.run("cp", "a", "b")
    assert files(place.source) == {"a": "1", "b": "1"}


# What a job may have put there


@pytest.mark.parametrize(
    "command",
    [
        ("cp", "{S}/link/outside", "{R}/x"),
        ("cp", "{S}/direct", "{R}/x"),
        ("cp", "{S}/file", "{S}/link/x"),
        ("cp", "{S}/file", "{S}/direct"),
        ("mkdir", "{S}/link/made"),
        ("rename", "{S}/file", "{S}/link/file"),
        ("rename", "{S}/link/outside", "{S}/x"),
        ("rm", "{S}/link/outside"),
        ("archivate", "{S}/link", "{R}/x.zip"),
        ("archivate", "{S}", "{S}/link/x.zip"),
        ("extract", "{S}/x.zip", "{S}/link"),
        ("extract", "{S}/link/x.zip", "{S}"),
        ("truncate", "{S}/link/outside", "0"),
        ("truncate", "{S}/direct", "0"),
        ("dumpdir", "{S}/link", "{R}", "10"),
        ("dumpdir", "{S}/d", "{S}/link", "10"),
        ("exists", "m", "{S}/link/outside"),
        ("exists", "m", "{S}/direct"),
    ],
)
def test_links_lead_nowhere(place: Place, tmp_path: Path, command: tuple[str, ...]) -> None:
    place.write({"file": "1", "d/x": "2"})
    (place.source / "x.zip").write_bytes(zipped(("unpacked", b"x")))
    (place.source / "link").symlink_to(tmp_path)
    (place.source / "direct").symlink_to(tmp_path / "outside")
    before = sorted(tmp_path.iterdir())
    try:
        place.run(*command)
    except (TaskFailed, EvaluationFailed):
        pass
    else:
        assert command[0] in ("cp", "rm")  # nothing matches, nothing is there
    assert sorted(tmp_path.iterdir()) == before
    assert "secret" not in "".join((*files(place.result).values(), *files(place.temp).values()))


def test_links_are_neither_copied_nor_packed(place: Place, tmp_path: Path) -> None:
    place.write({"file": "1", "d/x": "2"})
    (place.source / "d/link").symlink_to(tmp_path / "outside")
    os.mkfifo(place.source / "d/pipe")
    place.run("cp", "{S}/*", "{R}")
    assert files(place.result) == {"file": "1", "d/x": "2"}
    place.run("archivate", "{S}", "{T}/all.zip")
    with zipfile.ZipFile(place.temp / "all.zip") as packed:
        assert sorted(packed.namelist()) == ["all/d/x", "all/file"]


@pytest.mark.parametrize("path", ["/etc/passwd", "{S}/../../../outside", "../x", "{S}x", "/", "{T}/../.."])
@pytest.mark.parametrize("name", ["rm", "mkdir"])
def test_paths_outside_end_the_job(place: Place, path: str, name: str) -> None:
    with pytest.raises(EvaluationFailed, match="outside"):
        place.run(name, path)


@pytest.mark.parametrize(
    "command",
    ["rm {S}", "rm {S}/.", "rename {S} {T}/x", "rename {T}/x {R}", "cp {S} {R}", "archivate {S} {R}", "cp {S}/a/../ {R}"],
)
def test_the_directories_themselves_stay(place: Place, command: str) -> None:
    place.write({"a": "1"})
    place.fails(*command.split())
    assert place.source.is_dir()


# The others


def test_mkdir(place: Place) -> None:
    place.run("mkdir", "{S}/a/b", "{T}/c", "{S}/a")
    assert stat.S_IMODE((place.source / "a/b").stat().st_mode) == 0o777
    place.write({"file": ""})
    place.fails("mkdir", "{S}/new/deep", "{S}/a/more", "{S}/file/x")
    assert sorted(path.name for path in place.source.iterdir()) == ["a", "file"]
    assert [path.name for path in (place.source / "a").iterdir()] == ["b"]


def test_rename(place: Place) -> None:
    place.write({"a": "1", "b": "2", "d/x": "3"})
    place.run("rename", "{S}/a", "{S}/b")
    place.run("rename", "{S}/d", "{R}/e")
    assert files(place.source) == {"b": "1"}
    assert files(place.result) == {"e/x": "3"}
    assert place.fails("rename", "{S}/none", "{S}/x")


def test_rm(place: Place) -> None:
    place.write({"a": "1", "d/e/f": "2", "stay": "3"})
    place.run("rm", "{S}/a", "{S}/d", "{S}/none", "{S}/none/deep", "{S}/stay/deep")
    assert files(place.source) == {"stay": "3"}
    assert not (place.source / "d").exists()


def test_archivate_and_extract(place: Place) -> None:
    place.write({"in/a": "1", "in/d/b": "2", "in/empty": ""})
    place.run("archivate", "{S}/in", "{T}/packed.tar.zip")
    with zipfile.ZipFile(place.temp / "packed.tar.zip") as packed:
        assert sorted(packed.namelist()) == ["packed.tar/a", "packed.tar/d/b", "packed.tar/empty"]
    assert place.fails("extract", "{T}/packed.tar.zip", "{S}/none")
    place.run("mkdir", "{S}/out")
    place.run("extract", "{T}/packed.tar.zip", "{S}/out")
    place.run("extract", "{T}/packed.tar.zip", "{S}/out")  # over what is there
    assert files(place.source / "out") == {"packed.tar/a": "1", "packed.tar/d/b": "2", "packed.tar/empty": ""}
    place.run("archivate", "{S}/in", "{T}/packed.tar.zip")


def test_extract_refuses_what_is_hostile(place: Place) -> None:
    (place.source / "evil.zip").write_bytes(zipped(("../evil", b"x")))
    assert "leads out" in place.fails("extract", "{S}/evil.zip", "{S}")
    assert place.fails("extract", "{S}/none.zip", "{S}")


def test_archivate_has_a_limit(place: Place) -> None:
    place.write({"big": "x" * 100_001})
    assert "100000" in place.fails("archivate", "{S}", "{T}/x.zip")


def test_truncate(place: Place) -> None:
    place.write({"long": "x" * 3000, "short": "x"})
    place.run("truncate", "{S}/long", "2")
    place.run("truncate", "{S}/short", "2")
    assert [len(text) for text in files(place.source).values()] == [2048, 1]
    with pytest.raises(EvaluationFailed):
        place.run("truncate", "{S}/none", "2")


def test_dumpdir(place: Place) -> None:
    place.write(
        {"small": "1" * 10, "d/middle": "2" * 600, "d/large": "3" * 1000, "huge": "4" * 5000, "x.o": "5", "d/y.o": "6"}
    )
    place.run("dumpdir", "{S}", "{R}/dump", "1", "*.o", "nothing")
    found = files(place.result / "dump")
    assert found == {"small": "1" * 10, "d/middle": "2" * 600, "d/large.skipped": " ", "huge.skipped": " "}
    assert place.fails("dumpdir", "{S}", "{R}/dump", "100")
    with pytest.raises(EvaluationFailed):
        place.run("dumpdir", "{S}/none", "{R}/dump", "1")


def test_exists(place: Place) -> None:
    place.write({"a": "1", "d/x": "2"})
    place.run("exists", "message", "{S}/a", "{S}/d", "{S}")
    with pytest.raises(TaskFailed) as caught:
        place.run("exists", "You forgot it", "{S}/a", "{S}/b")
    assert caught.value.stderr == "You forgot it"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mv", ["a", "b"]),
        ("", []),
        ("cp", ["a"]),
        ("cp", ["a", "b", "c"]),
        ("mkdir", []),
        ("rename", ["a"]),
        ("rm", []),
        ("archivate", ["a"]),
        ("extract", ["a", "b", "c"]),
        ("fetch", ["a"]),
        ("truncate", ["a"]),
        ("truncate", ["a", "x"]),
        ("truncate", ["a", "-1"]),
        ("dumpdir", ["a", "b"]),
        ("dumpdir", ["a", "b", "*.o"]),
        ("dumpdir", ["a", "b", "1", "[" * 1001]),
        ("exists", ["message"]),
    ],
)
def test_what_no_internal_task_is(name: str, arguments: list[str]) -> None:
    with pytest.raises(EvaluationErrored):
        check(name, arguments)


# Trees


def test_deep_trees_are_removed(tmp_path: Path) -> None:
    root = tree.open_directory(tmp_path)
    here = os.dup(root)
    for _ in range(1500):  # more than descriptors and calls can be had
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(os.open("f", os.O_CREAT, dir_fd=below))
        os.close(here)
        here = below
    os.close(here)
    tree.prune(root)
    assert sum(entry.directory for entry in tree.walk(root)) == tree.DEPTH
    tree.remove(root, ("d",))
    assert list(tmp_path.iterdir()) == []
    os.close(root)


def test_walk_sees_files_and_directories_only(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"123")
    (tmp_path / "l").symlink_to("d")
    os.mkfifo(tmp_path / "p")
    root = tree.open_directory(tmp_path)
    assert [(entry.parts, entry.directory, entry.size) for entry in tree.walk(root) if not entry.directory] == [
        (("d", "f"), False, 3)
    ]
    assert [entry.parts for entry in tree.walk(root)] == [("d",), ("d", "f")]
    assert tree.look(root, ("l",)) is None
    assert tree.look(root, ("none", "x")) is None
    with pytest.raises(OSError):
        tree.open_file(root, ("p",))
    with pytest.raises(OSError):
        tree.open_file(root, ("d",))
    os.close(root)


def test_copies_end_where_they_should() -> None:
    target = io.BytesIO()
    tree.copy(io.BytesIO(b"0123456789"), target, 4)
    assert target.getvalue() == b"0123"


@pytest.mark.parametrize("name", ["student_0d6f", "a", "x" * 100, "A-1.b_2"])
def test_harmless_ids_are_names(name: str) -> None:
    assert directory_name(name) == name


def test_other_ids_get_names_of_their_own() -> None:
    names = {directory_name(name) for name in ("a/b", "a_b/", "a b", "../a", "..", ".", "", "x" * 101, "ž", "a\0b", "-rf")}
    assert len(names) == 11
    assert all("/" not in name and not name.startswith((".", "-")) and len(name) < 100 for name in names)


def test_paths_of_a_program(place: Place) -> None:
    binds = [
        Bind(target="/data", source=place.result / "d"),
        Bind(target="/usr/share", source=Path("/usr/share")),
        Bind(target="/t"),
    ]
    inside = Inside(place.workspace, str(place.source / "sub"), binds, "work")
    source = place.workspace.descriptor(SOURCE)
    assert inside.locate("out") == (source, ("sub", "work", "out"))
    assert inside.locate("/box/x") == (source, ("sub", "x"))
    assert inside.locate("../x") == (source, ("sub", "x"))
    assert inside.locate("/data/x") == (place.workspace.descriptor("results"), ("d", "x"))
    for elsewhere in ("/etc/passwd", "/usr/share/x", "../../x", "/t/x", "/boxes/x", "/"):
        assert inside.locate(elsewhere) is None
