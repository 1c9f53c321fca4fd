"""The judges, run as the programs they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.runners.program.judging import install_judges, judge_path


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("program") / "judges"
    install_judges(directory)
    return directory


class Judged:
    def __init__(self, directory: Path, name: str, arguments: list[str]) -> None:
        run = subprocess.run([directory / name, *arguments], capture_output=True, timeout=60, check=False)
        self.status, self.output, self.log = run.returncode, run.stdout.decode(), run.stderr.decode()


def judge(directory: Path, folder: Path, name: str, options: str, expected: bytes, actual: bytes) -> Judged:
    (folder / "expected").write_bytes(expected)
    (folder / "actual").write_bytes(actual)
    return Judged(directory, name, [*options.split(), str(folder / "expected"), str(folder / "actual")])


TOKEN = [
    ("", b"a b\nc\n", b"a  b\t\nc", True),
    ("", b"a b\nc\n", b"a b c\n", False),
    ("", b"a\n", b"a\n\n", False),
    ("", b"", b"", True),
    ("", b"", b"a", False),
    ("", b"1.0", b"1", False),
    ("", b"\xff\xfe", b"\xff\xfe", True),
    ("--ignore-line-ends", b"a b\nc\n", b"a\nb c\n\n", True),
    ("--ignore-line-ends", b"\n\n", b"", True),
    ("--ignore-empty-lines", b"a\nb\n", b"\na\n\n \nb\n\n", True),
    ("--ignore-trailing-whitespace", b"a\nb\n", b"a\nb\n\n \n", True),
    ("--ignore-trailing-whitespace", b"a\nb\n", b"a\n\nb\n", False),
    ("--allow-comments", b"# expected\na b # c\n", b"a b\n#\n", True),
    ("--case-insensitive", b"Hello", b"hELLO", True),
    ("", b"Hello", b"hELLO", False),
    ("--numeric", b"1 2.0 x", b"01 2 x", True),
    ("--numeric", b"100000", b"100001", False),
    ("--numeric", b"100000.0", b"100001", True),
    ("--numeric --float-tolerance 0.1", b"1.0", b"1.2", True),
    ("--numeric --float-tolerance=0.05", b"1.0", b"1.2", False),
    ("--numeric", b"nan", b"nan", True),
    ("--numeric", b"nan", b"inf", False),
    ("--numeric", b"1_0", b"10", False),
    ("--numeric", b"0.0", b"0.000000001", True),
    ("--shuffled-tokens", b"a b c\nd e", b"c a b\ne d", True),
    ("--shuffled-tokens", b"a b c\nd e", b"d e\na b c", False),
    ("--shuffled-tokens", b"a a b", b"a b b", False),
    ("--shuffled-tokens --numeric", b"1.0 2.0 x", b"x 2.00001 1.00001", True),
    ("--shuffled-tokens --numeric", b"1.0 2.0", b"2.5 1.0", False),
    ("--shuffled-lines", b"a b\nc\nd", b"d\na b\nc", True),
    ("--shuffled-lines", b"a\na\nb", b"a\nb\nb", False),
    ("--shuffled-lines --numeric", b"1.0\n2.0", b"2.00001\n1.00001", True),
    ("--shuffled-lines --shuffled-tokens --case-insensitive", b"A b\nc", b"C\nB a", True),
    ("--ignore-line-ends --shuffled-tokens", b"a\nb c", b"c b\na", True),
    ("--log-limit 4k --ignore-trailing-whitespace", b"a\n", b"a\n\n", True),
]


@pytest.mark.parametrize(("options", "expected", "actual", "same"), TOKEN)
def test_token_judge(judges: Path, tmp_path: Path, options: str, expected: bytes, actual: bytes, same: bool) -> None:
    judged = judge(judges, tmp_path, "recodex-token-judge", options, expected, actual)
    assert (judged.status, judged.output) == ((0, "1\n") if same else (1, "0\n"))
    assert bool(judged.log) is not same


@pytest.mark.parametrize(
    ("options", "expected", "actual", "log"),
    [
        ("", b"a\nb c\n", b"a\nb d\n", "2: token 2 is 'd', expected 'c'\n"),
        ("", b"a b\n", b"a\n", "1: token 2 is the end of the line, expected 'b'\n"),
        ("", b"a\nb\n", b"a\n", "-2: b\n"),
        ("", b"a\n", b"a\nb c\n", "+2: b c\n"),
        ("--shuffled-tokens", b"a b", b"b c", "1: missing 'a', unexpected 'c'\n"),
        ("--shuffled-lines", b"a\nb", b"b\nc", "-1: a\n+2: c\n"),
        ("--log-limit 10", b"a\n" * 50, b"b\n" * 50, "1: token 1"),
        ("--log-limit 1k", b"a\n" * 5000, b"b\n" * 5000, None),
    ],
)
def test_what_the_token_judge_says(
    judges: Path, tmp_path: Path, options: str, expected: bytes, actual: bytes, log: str | None
) -> None:
    judged = judge(judges, tmp_path, "recodex-token-judge", options, expected, actual)
    if log is None:
        assert len(judged.log) == 1024
    else:
        assert judged.log == log
    assert (judged.status, judged.output) == (1, "0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a"],
        ["a", "b", "c"],
        ["--unknown", "a", "b"],
        ["--float-tolerance", "x", "a", "b"],
        ["--log-limit", "-1", "a", "b"],
        ["--float-tolerance", "2", "a", "b"],
        ["--ignore-line-ends", "--shuffled-lines", "a", "b"],
        ["/nowhere", "/nowhere"],
        ["--ignore-line-ends", "--ignore-empty-lines", "a", "b"],
        ["--log-limit"],
        ["--numeric=1", "a", "b"],
    ],
)
def test_misuse_of_the_token_judge(judges: Path, arguments: list[str]) -> None:
    judged = Judged(judges, "recodex-token-judge", arguments)
    assert judged.status == 2
    assert "Error: " in judged.log


@pytest.mark.parametrize(
    ("options", "expected", "actual", "same"),
    [
        ("", b"a b\nc\n", b"a  b\n\n\nc", True),
        ("", b"a b\nc\n", b"a b c\n", False),
        ("", b"a", b"a b", False),
        ("", b"a b", b"a", False),
        ("-n", b"a b\nc\n", b"a\nb c\n", True),
        ("-r", b"1.000001 x", b"1 x", True),
        ("-r", b"1.001", b"1", False),
        ("-r", b"inf", b"1", False),
        ("-r", b"1e999", b"-5", False),
        ("-r", b"inf", b"-inf", False),
        ("-r", b"1", b"inf", False),
        ("-r", b"inf", b"+Infinity", True),
        ("-r", b"nan", b"1", False),
        ("-rn", b"1.0\n2", b"1 2.0", True),
        ("-n -r", b"1.0\n2", b"1 2.0", True),
        ("", b"1.0", b"1", False),
    ],
)
def test_normal_judge(judges: Path, tmp_path: Path, options: str, expected: bytes, actual: bytes, same: bool) -> None:
    judged = judge(judges, tmp_path, "recodex-judge-normal", options, expected, actual)
    assert (judged.status, judged.output) == ((0, "1.000000\n") if same else (1, "0.000000\n"))


@pytest.mark.parametrize(
    ("options", "expected", "actual", "same"),
    [
        ("", b"a b\nc\n", b"a b\n\nc", True),
        ("", b"a b\nc\n", b"c\na b", False),
        ("-r", b"a b\nc\n", b"c\na b", True),
        ("-r", b"a b\nc\n", b"c\nb a", False),
        ("-ir", b"a b\nc\n", b"c\nb a", True),
        ("-i", b"a b\nc\n", b"b a\nc", True),
        ("-n", b"a b\nc\n", b"a\nb c", True),
        ("-ni", b"a b\nc\n", b"c\nb a", True),
        ("", b"", b"\n", True),
    ],
)
def test_shuffle_judge(judges: Path, tmp_path: Path, options: str, expected: bytes, actual: bytes, same: bool) -> None:
    judged = judge(judges, tmp_path, "recodex-judge-shuffle", options, expected, actual)
    assert (judged.status, judged.output) == ((0, "1.000000\n") if same else (1, "0.000000\n"))


@pytest.mark.parametrize("name", ["recodex-judge-normal", "recodex-judge-shuffle"])
@pytest.mark.parametrize("arguments", [[], ["a"], ["-x", "a", "b"], ["a", "b", "c"], ["/nowhere", "/nowhere"]])
def test_misuse_of_the_older_judges(judges: Path, name: str, arguments: list[str]) -> None:
    judged = Judged(judges, name, arguments)
    assert judged.status == 2
    assert judged.log


def test_comment_filter(judges: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"a // b\n// gone\nc / d\n  // stays a line\ne//")
    assert Judged(judges, "recodex-judge-filter", [str(source), str(target)]).status == 0
    assert target.read_bytes() == b"a \nc / d\n  \ne"
    assert Judged(judges, "recodex-judge-filter", [str(source)]).output == target.read_text()
    assert Judged(judges, "recodex-judge-filter", ["/nowhere"]).status == 2


@pytest.mark.parametrize(
    ("verdict", "status", "output", "log"),
    [
        (b"0\n1.0\nwell done\n", 0, "1.0\nwell done\n", ""),
        (b"1\n", 1, "", ""),
        (b"7\nMC41Cg==\nb29wcw==\n", 7, "0.5\n", "oops"),
        (b"7\n\n\n", 7, "", ""),
        (b"3\none\n{two}\n", 3, "one\n{two}\n", ""),
        (b"300\n", 2, "", "300 is no exit status\n"),
    ],
)
def test_passthrough_judge(judges: Path, tmp_path: Path, verdict: bytes, status: int, output: str, log: str) -> None:
    judged = judge(judges, tmp_path, "recodex-judge-passthrough", "", verdict, b"")
    assert (judged.status, judged.output, judged.log) == (status, output, log)


def test_passthrough_judge_without_a_verdict(judges: Path, tmp_path: Path) -> None:
    assert judge(judges, tmp_path, "recodex-judge-passthrough", "", b"x", b"").status == 2
    assert Judged(judges, "recodex-judge-passthrough", []).status == 2


def test_the_wrapper_and_the_passthrough_judge_belong_together(judges: Path, tmp_path: Path) -> None:
    custom = tmp_path / "custom"
    custom.write_text('#!/bin/sh\necho 0.25; echo "$1 is odd"; echo sorry >&2; exit 1\n')
    written = Judged(judges, "recodex-data-only-wrapper.sh", [str(custom), "x y"])
    (tmp_path / "verdict").write_text(written.output)
    judged = Judged(judges, "recodex-judge-passthrough", [str(tmp_path / "verdict"), "ignored"])
    assert (judged.status, judged.output, judged.log) == (1, "0.25\nx y is odd\n", "sorry\n")


def test_installed_again_they_are_replaced(judges: Path) -> None:
    install_judges(judges)
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in judges.iterdir())
    assert len(list(judges.iterdir())) == 6


def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError):
        install_judges(tmp_path)


def test_the_usual_paths_lead_to_ours() -> None:
    assert judge_path("/usr/bin/recodex-token-judge") == "/judges/recodex-token-judge"
    assert judge_path("/judges/recodex-token-judge") == "/judges/recodex-token-judge"
    assert judge_path("/usr/bin/diff") == "/usr/bin/diff"


def test_judges_stand_alone(judges: Path) -> None:
    for path in judges.glob("recodex-*-judge"):
        assert "crossdock" not in path.read_text().replace("Crossdock", "")
    assert sys.version_info >= (3, 11)
