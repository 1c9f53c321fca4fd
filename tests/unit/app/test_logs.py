"""What the server says on stderr."""

import json

import pytest
import structlog

from crossdock.app.logs import configure_logs
from crossdock.core.identifiers import encode_id

JOB = 1882590801293213696


@pytest.fixture(autouse=True)
def others_log_as_before():
    yield
    structlog.reset_defaults()


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
