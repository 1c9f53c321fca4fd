"""What the server says on stderr."""

import io
import json

import pytest
import structlog

from crossdock.app.logs import configure_logs
from crossdock.core.identifiers import encode_id

JOB = 1882590801293213696


@pytest.mark.parametrize("form", ["text", "json"])
def test_jobs_are_named_as_clients_know_them(form, capsys):
    configure_logs("info", form)
    structlog.get_logger("test").info("callback failed", job=JOB)
    line = capsys.readouterr().err
    assert str(JOB) not in line
    assert encode_id(JOB) in line


def test_json_lines_can_be_read(capsys):
    configure_logs("info", "json")
    structlog.get_logger("test").warning("a line", job="1m82ebgay0000", count=3)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["job"], line["count"]) == ("a line", "warning", "1m82ebgay0000", 3)


def test_a_log_that_cannot_be_written_breaks_nobody(monkeypatch):
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    monkeypatch.setattr("sys.stderr", full)
    configure_logs("info", "text")
    structlog.get_logger("test").warning("no space left")
    with pytest.raises(OSError, match="No space"):
        full.write("which is true")
    full.detach()
    structlog.get_logger("test").warning("nobody reads this")


def test_a_log_goes_where_it_was_last_told_to(capsys):
    log = structlog.get_logger("test")
    configure_logs("info", "text")
    log.warning("first")
    capsys.readouterr()
    structlog.reset_defaults()
    log.warning("second")
    assert "second" in capsys.readouterr().out
