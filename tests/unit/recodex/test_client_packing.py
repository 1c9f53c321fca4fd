"""What is submitted."""

import io
import os
import tarfile
import tracemalloc
import zipfile

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.client import packing
from crossdock.protocols.recodex.client.config import Limits, Task, read_config, replace_job_id
from crossdock.protocols.recodex.client.packing import Submission, read_submission

CONFIG = b"submission: {job-id: old, hw-groups: [a, b]}\ntasks: [{task-id: t, type: Execution, test-id: T}]\n"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "work"
    (root / "sub" / "__pycache__").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "job-config.yml").write_bytes(CONFIG)
    (root / "sub" / "main.c").write_bytes(b"int main;")
    (root / "sub" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (root / ".git" / "HEAD").write_bytes(b"x")
    return root


def refused(path) -> CrossdockError:
    with pytest.raises(CrossdockError) as caught:
        read_submission(path)
    return caught.value


def zipped(path, files) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_a_directory_without_what_stays_at_home(folder):
    submission = read_submission(folder)
    assert submission.files == {"job-config.yml": CONFIG, "sub/main.c": b"int main;"}
    assert (submission.config.job_id, submission.config.groups) == ("old", ("a", "b"))
    [task] = submission.config.tasks
    assert (task.id, task.type, task.test) == ("t", "execution", "T")


def test_the_same_files_make_the_same_zip(folder):
    first = read_submission(folder).zipped()
    os.utime(folder / "job-config.yml", (1, 1))
    (folder / "job-config.yml").chmod(0o600)
    assert read_submission(folder).zipped() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["job-config.yml", "sub/main.c"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


@pytest.mark.parametrize("top", ["", "./", "project-1.0/"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_an_archive_is_the_same_as_its_directory(tmp_path, folder, kind, top):
    path = tmp_path / f"a.{kind}"
    wanted = read_submission(folder).files
    files = {f"{top}{name}": content for name, content in {**wanted, ".git/HEAD": b"x"}.items()}
    if kind == "zip":
        zipped(path, files)
    else:
        with tarfile.open(path, "w:" + kind.partition(".")[2]) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    assert read_submission(path).files == wanted


def test_another_job_id(folder):
    submission = read_submission(folder).with_job_id("student_1")
    assert submission.config.job_id == "student_1"
    assert submission.files["job-config.yml"] == CONFIG.replace(b"old", b"'student_1'")
    assert Submission.of(submission.files, "it") == submission


def test_of_the_configuration_only_the_job_id_changes():
    text = "\ufeff# ěšč\nother: [1, {job-id: x}]\nsubmission:\n  log: 'job-id: no'\n  job-id: ř1  # old\ntasks: []\n--- 2\n"
    assert replace_job_id(text.encode(), "it's").decode() == text[1:].replace("ř1", "'it''s'")
    assert read_config(replace_job_id(text.encode(), "it's")).job_id == "it's"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (text, "job-config.yml has no submission.job-id")
        for text in (b"a: 1", b"submission: {job-id: [1]}", b"submission: []", b"[submission, {job-id: 1}]")
    ]
    + [
        ("submission: {job-id: 1}".encode("utf-16"), "job-config.yml is not UTF-8"),
        (b"submission: {job-id: &a 1, other: *a }", "refers to 'a', which is not there"),
        (b"[" * 100_000, "it is nested more than 50 times"),
    ],
)
def test_a_job_id_that_cannot_be_changed(text, says):
    with pytest.raises(CrossdockError) as caught:
        replace_job_id(text, "x")
    assert caught.value.code is Code.INVALID
    assert says in caught.value.message


def test_limits_are_read_as_workers_read_them():
    text = b"""
submission: {}
tasks:
  - {task-id: a, sandbox: {limits: [{hw-group-id: g, time: '1.5', memory: 0x100}, {hw-group-id: h, wall-time: 2}]}}
  - {task-id: b, sandbox: ~}
  - {task-id: a, type: execution}
"""
    limits = {"g": Limits(1.5, None, 256), "h": Limits(None, 2.0, None)}
    assert read_config(text).tasks == (Task(id="a", limits=limits), Task(id="b"))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "has no job-config.yml, which says what is to be done"),
        (b"- 1", "job-config.yml is not a map"),
        (b"just text", "job-config.yml is not a map"),
        (b"a: [", "job-config.yml is no YAML"),
        (b"- " * 100_000, "it is nested more than 50 times"),
        (b"submission: [1]", "submission of job-config.yml is not a map"),
        (b"tasks: []", "job-config.yml has no submission"),
        (b"submission: {}", "job-config.yml has no tasks"),
        (b"submission: {}\ntasks: [{type: inner}]", "tasks[0] of job-config.yml has no task-id"),
        (b"submission: {}\ntasks: {}", "tasks of job-config.yml is not a list"),
    ],
)
def test_without_a_configuration_nothing_is_sent(folder, config, says):
    (folder / "job-config.yml").unlink()
    if config is not None:
        (folder / "job-config.yml").write_bytes(config)
    error = refused(folder)
    assert error.code is Code.INVALID
    assert says in error.message


def test_links_are_refused(folder, tmp_path):
    (folder / "sub" / "link").symlink_to("main.c")
    assert "sub/link is a link or no file" in refused(folder).message
    (folder / "sub" / "link").unlink()
    (folder / "up").symlink_to(tmp_path)
    assert "up is a link or no file" in refused(folder).message


def test_links_in_an_archive_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("job-config.yml")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert "is a link or no file" in refused(tmp_path / "a.tar").message


@pytest.mark.parametrize("name", ["../x", "/x", "a\\b", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    zipped(tmp_path / "a.zip", {"job-config.yml": CONFIG, name: b""})
    assert "is no name for a file of a submission" in refused(tmp_path / "a.zip").message


def test_what_is_neither(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    assert "neither a directory nor an archive" in refused(tmp_path / "a.txt").message
    assert refused(tmp_path / "nope").message == f"{tmp_path}/nope: No such file or directory"


def test_limits(folder, monkeypatch):
    monkeypatch.setattr(packing, "MAX_FILES", 1)
    assert refused(folder).message == "there are more than 1 files"
    monkeypatch.setattr(packing, "MAX_FILES", 2)
    monkeypatch.setattr(packing, "MAX_BYTES", len(CONFIG) + 8)
    assert refused(folder).code is Code.TOO_LARGE
    monkeypatch.setattr(packing, "MAX_BYTES", len(CONFIG) + 9)
    monkeypatch.setattr(packing, "MAX_ARCHIVE", 10)
    with pytest.raises(CrossdockError, match="at most 10 can be sent"):
        read_submission(folder).zipped()


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("job-config.yml", b"x" * 50_000_000)
    tracemalloc.start()
    try:
        assert refused(tmp_path / "a.zip").code is Code.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
