"""Results of a server that need not be trusted."""

import io
import json
import struct
import tracemalloc
import zipfile

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.client import results
from crossdock.protocols.recodex.client.results import (
    RESULT,
    SandboxResult,
    TaskResult,
    read_result_archive,
    read_result_document,
    read_result_file,
)

YAML = b"""\
job-id: 17
hw-group: group1
results:
  - task-id: compile
    status: OK
  - task-id: run
    status: FAILED
    error_message: "Sandboxed program failed: Time limit exceeded"
    output:
      stdout: 1.000000
      stderr: "\\u0159"
    sandbox_results:
      exitcode: 0
      time: 0.0149999997
      wall-time: 0.0350000001
      memory: 3792
      max-rss: 7944
      status: TO
      exitsig: 9
      killed: true
      message: Time limit exceeded
      csw-voluntary: 16
      csw-forced: 87
"""
JSON = {
    "job-id": 17,
    "hw-group": "group1",
    "results": [
        {"task-id": "compile", "status": "OK"},
        {
            "task-id": "run",
            "status": "FAILED",
            "error_message": "Sandboxed program failed: Time limit exceeded",
            "output": {"stdout": "1.000000", "stderr": "ř"},
            "sandbox_results": {
                "exitcode": 0,
                "time": 0.0149999997,
                "wall-time": 0.0350000001,
                "memory": 3792,
                "status": "TO",
                "exitsig": 9,
                "killed": True,
                "message": "Time limit exceeded",
            },
        },
    ],
}
RUN = TaskResult(
    id="run",
    status="FAILED",
    error="Sandboxed program failed: Time limit exceeded",
    stdout="1.000000",
    stderr="ř",
    sandbox=SandboxResult(
        status="TO",
        exitsig=9,
        time=0.0149999997,
        wall_time=0.0350000001,
        memory=3792,
        killed=True,
        message="Time limit exceeded",
    ),
)


def archive(files, **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def refused(call, argument) -> str:
    with pytest.raises(CrossdockError) as caught:
        call(argument)
    assert caught.value.code is Code.INTERNAL  # the server's fault, never that of whoever submitted
    return caught.value.message


@pytest.mark.parametrize(
    ("read", "given"),
    [
        (read_result_file, YAML),
        (read_result_document, JSON),
        (read_result_document, json.loads(json.dumps(JSON))),
        (read_result_archive, archive({"result/extra": b"x", RESULT: YAML})),
    ],
)
def test_every_form_says_the_same(read, given):
    results = read(given)
    assert (results.job_id, results.group) == ("17", "group1")
    assert results.tasks == (TaskResult(id="compile", status="OK"), RUN)


def test_no_task_ran():
    assert read_result_file(b"job-id: a\nhw-group: b\n").tasks == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[]", "result/result.yml is not a map"),
        (b"results: {}", "results of result/result.yml is not a list"),
        (b"results: [{task-id: a, status: GREAT}]", "has the status 'GREAT'"),
        (b"results: [{status: OK}]", "results[0] of result/result.yml has no task-id"),
        (b"results: [{task-id: a, status: OK, sandbox_results: {time: .inf}}]", "time of sandbox_results of task 'a'"),
        (b"results: [{task-id: a, status: OK, sandbox_results: {memory: 1e999}}]", "memory of sandbox_results of task 'a'"),
        (b"results: [{task-id: a, status: OK, output: [1]}]", "output of task 'a' in result/result.yml is not a map"),
        (b"- " * 100_000, "it is nested more than 50 times"),
        (b"results: [{task-id: a, status: OK, sandbox_results: {killed: maybe}}]", "killed of sandbox_results"),
        (b"results: [", "result/result.yml is no YAML"),
    ],
)
def test_nonsense_is_refused(text, says):
    assert says in refused(read_result_file, text)


def test_numbers_are_decimal_and_may_be_negative():
    text = b"results: [{task-id: a, status: OK, sandbox_results: {exitcode: -1073741819, memory: '010', time: ''}}]"
    sandbox = read_result_file(text).tasks[0].sandbox
    assert sandbox == SandboxResult(status="", exitcode=-1073741819, memory=10)


def test_an_archive_without_results():
    assert refused(read_result_archive, archive({"x": b""})) == "the archive of results has no result/result.yml"


@pytest.mark.parametrize("content", [b"", b"nonsense", YAML])
def test_no_archive(content):
    assert refused(read_result_archive, content) == "the archive of results is no zip"


def test_a_damaged_archive():
    whole = archive({RESULT: YAML})
    assert refused(read_result_archive, whole.replace(b"job-id", b"job-ID", 1)).startswith("the archive of results cannot")


def test_a_bomb(monkeypatch):
    monkeypatch.setattr(results, "RESULT_BYTES", 1000)
    bomb = archive({RESULT: b"x" * 50_000_000}, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        assert "it has more than 1000 bytes" in refused(read_result_archive, bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_directory_of_millions(monkeypatch):
    monkeypatch.setattr(results, "_DIRECTORY_BYTES", 100)
    many = archive({RESULT: YAML, "a" * 60: b""})
    assert refused(read_result_archive, many) == "the archive of results has too many files"


def test_a_directory_whose_size_is_elsewhere():
    whole = archive({RESULT: YAML})
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    end = whole.rfind(b"PK\5\6")
    assert refused(read_result_archive, whole[:end] + locator + whole[end:]) == "the archive of results has too many files"
