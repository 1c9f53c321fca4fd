"""Reading parameters from the command line."""

import io
import sys

import pytest

from crossdock.cli.failures import CommandError, ExitCode
from crossdock.cli.parameters import Range, parse_range, read_json, read_table


def refused(call, *arguments) -> str:
    with pytest.raises(CommandError) as caught:
        call(*arguments)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value.message


def test_json_comes_from_the_text_a_file_or_standard_input(tmp_path, monkeypatch):
    (tmp_path / "p.json").write_text('{"a": 2}')
    monkeypatch.setattr(sys, "stdin", io.StringIO("[3]"))
    assert read_json('{"a": 1}') == {"a": 1}
    assert read_json(f"@{tmp_path}/p.json") == {"a": 2}
    assert read_json("-") == [3]


@pytest.mark.parametrize("text", ["{", "NaN", "[1,]"])
def test_what_is_not_json_is_refused(text):
    assert refused(read_json, text).startswith("--params is not JSON: ")


def test_a_missing_file_is_named():
    assert refused(read_json, "@/nowhere/p.json") == "--params @/nowhere/p.json: No such file or directory"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:1000000", Range(0, 1000000, 1)),
        ("5:10:2", Range(5, 10, 2)),
        ("3:0:-1", Range(3, 0, -1)),
        ("-2:2", Range(-2, 2, 1)),
    ],
)
def test_ranges(text, expected):
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["7", "a:b", "0:5:0", "0:1:2:3", ""])
def test_what_is_no_range_is_refused(text):
    assert "expected START:STOP" in refused(parse_range, text)


def test_an_empty_range_is_refused():
    assert "has no members" in refused(parse_range, "5:5")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "x,name,on\n1,a,true\n2.5,b,null\n"),
        ("t.json", '[{"x": 1, "name": "a", "on": true}, {"x": 2.5, "name": "b", "on": null}]'),
        ("t.jsonl", '{"x": 1, "name": "a", "on": true}\n\n{"x": 2.5, "name": "b", "on": null}\n'),
    ],
)
def test_tables(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_table(tmp_path / name) == [{"x": 1, "name": "a", "on": True}, {"x": 2.5, "name": "b", "on": None}]


def test_a_cell_that_looks_like_a_list_stays_text(tmp_path):
    (tmp_path / "t.csv").write_text('x\n"[1, 2]"\n"""7"""\n')
    assert read_table(tmp_path / "t.csv") == [{"x": "[1, 2]"}, {"x": '"7"'}]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.csv", "a,b\n1\n", "line 2 has not as many cells as the header"),
        ("t.csv", "a\n1,2\n", "line 2 has not as many cells as the header"),
        ("t.json", "[1]", "row 1 is no object"),
        ("t.json", "[]", "has no rows"),
        ("t.csv", "a\n", "has no rows"),
        ("t.jsonl", "{", "Expecting property name"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    message = refused(read_table, tmp_path / name)
    assert message.startswith(f"--table {tmp_path / name}")
    assert reason in message
