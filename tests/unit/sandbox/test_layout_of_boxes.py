"""Paths that a program sees, and its streams: nothing it left behind leads us out of its directory."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from crossdock.runners.program.sandbox.layout import CannotRun, Layout, Streams
from crossdock.runners.program.sandbox.spec import Bind, Program


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "box").mkdir()
    (tmp_path / "secret").write_text("hidden")
    return tmp_path / "box"


def layout(box: Path, **asked: Any) -> Layout:
    return Layout(Program(arguments=("x",), directory=box, **asked), box)


def text_of_input(box: Path, **asked: Any) -> str:
    with ExitStack() as stack:
        return os.read(layout(box, **asked).open_input(stack), 100).decode()


@pytest.mark.parametrize("name", ["in", "/box/in", "./in", "/box/../box/in", "sub/../in"])
def test_input_by_every_name_it_has_inside(box: Path, name: str) -> None:
    (box / "in").write_text("given")
    assert text_of_input(box, stdin=name) == "given"


def test_input_from_a_start_directory_and_a_bound_one(box: Path, tmp_path: Path) -> None:
    (box / "sub").mkdir()
    (box / "sub" / "in").write_text("below")
    assert text_of_input(box, stdin="in", chdir="/box/sub") == "below"
    assert text_of_input(box, stdin="in", chdir="sub") == "below"
    bind = Bind(target="data", source=box / "sub")
    assert text_of_input(box, stdin="/data/in", binds=(bind,)) == "below"
    assert text_of_input(box) == ""


@pytest.mark.parametrize("name", ["missing", "link", "up/secret", "../secret", "/etc/passwd", "pipe", "folder", "magic"])
def test_input_that_is_no_file_of_the_box_is_refused(box: Path, name: str) -> None:
    (box / "link").symlink_to("../secret")
    (box / "up").symlink_to("..")
    (box / "magic").symlink_to("/proc/self/environ")
    os.mkfifo(box / "pipe")
    (box / "folder").mkdir()
    with pytest.raises(CannotRun):
        text_of_input(box, stdin=name)


def deliver(box: Path, folder: Path, **asked: Any) -> None:
    with ExitStack() as stack:
        program = Program(arguments=("x",), directory=box, **asked)
        streams = Streams(Layout(program, box), program, folder, None, stack)
        os.write(streams.output, b"out")
        os.write(streams.errors, b"err")
        assert streams.size() <= 6
        streams.deliver()


def test_output_replaces_links_and_does_not_follow_them(box: Path, tmp_path: Path) -> None:
    (box / "out").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", box / "err")
    deliver(box, tmp_path, stdout="out", stderr="err")
    assert (tmp_path / "secret").read_text() == "hidden"
    assert (box / "out").read_text() == "out"
    assert not (box / "out").is_symlink()
    assert (box / "err").read_text() == "err"


def test_output_can_be_merged_or_dropped(box: Path, tmp_path: Path) -> None:
    deliver(box, tmp_path, stdout="both", merge=True)
    assert (box / "both").read_text() == "outerr"
    deliver(box, tmp_path, stdout="/box/same", stderr="/box/same")
    assert (box / "same").read_text() == "outerr"
    deliver(box, tmp_path)
    assert sorted(path.name for path in box.iterdir()) == ["both", "same"]


@pytest.mark.parametrize("name", ["folder", "link/out", "missing/out", "/elsewhere/out", "/data/out"])
def test_output_to_no_place_of_its_own_is_refused(box: Path, tmp_path: Path, name: str) -> None:
    (box / "folder").mkdir()
    (box / "link").symlink_to(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(CannotRun):
        deliver(box, tmp_path, stdout=name, binds=(Bind(target="/data", source=tmp_path / "data"),))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "data" / "out").exists()


def test_a_bind_or_start_directory_that_is_not_there_is_refused(box: Path, tmp_path: Path) -> None:
    layout(box, binds=(Bind(target="/x", source=tmp_path / "no", optional=True),)).check()
    with pytest.raises(CannotRun):
        layout(box, binds=(Bind(target="/x", source=tmp_path / "no"),)).check()
    with pytest.raises(CannotRun):
        layout(box, chdir="/box/no").check()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/box", "{box}"),
        ("/box/a.out", "{box}/a.out"),
        ("--out=/box/x", "--out={box}/x"),
        ("/boxes", "/boxes"),
        ("a/box/b", "a/box/b"),
        ("/data/in", "{data}/in"),
        ("/box/inner/x", "{data}/x"),
        ("-l", "-l"),
    ],
)
def test_paths_in_arguments_where_there_are_no_mounts(box: Path, tmp_path: Path, text: str, wanted: str) -> None:
    data = tmp_path / "data"
    binds = (Bind(target="/data", source=data), Bind(target="/box/inner", source=data))
    assert layout(box, binds=binds).outside(text) == wanted.format(box=box, data=data)


def test_output_goes_to_the_directory_that_was_bound_whatever_takes_its_place(box: Path, tmp_path: Path) -> None:
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    (shared / "y").mkdir(parents=True)
    outside.mkdir()
    program = Program(
        arguments=("x",), directory=box, stdout="/y/out", binds=(Bind(target="/y", source=shared / "y", writable=True),)
    )
    with ExitStack() as stack:
        streams = Streams(Layout(program, box), program, tmp_path, None, stack)
        os.write(streams.output, b"out")
        (shared / "y").rename(shared / "z")  # as a program can that also sees the directory above
        (shared / "y").symlink_to(outside)
        streams.deliver()
    assert (shared / "z/out").read_text() == "out"
    assert list(outside.iterdir()) == []
    with ExitStack() as stack, pytest.raises(CannotRun, match="output /y/out"):
        Streams(Layout(program, box), program, tmp_path, None, stack)
