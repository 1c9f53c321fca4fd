"""The examples on the protocol's page are what the codec understands."""

import re
from pathlib import Path

import msgspec
import pytest

from crossdock.core.kinds import Kind
from crossdock.http.problems import STATUS
from crossdock.protocols.ogc.codec import decode, submit_of
from crossdock.protocols.ogc.messages import BatchRequest, Execute, StatusInfo

PAGE = (Path(__file__).parents[3] / "docs/protocols/ogc.md").read_text()
BLOCKS = re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "execute"])
def test_execute_requests(text):
    kind = Kind(name="x", raw='"payload"' in text)
    assert submit_of(decode(text.encode(), Execute), kind, tenant="", key=None).kind == "x"


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "batch"])
def test_batches(text):
    assert len(decode(text.encode(), BatchRequest).jobs) == 2


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "status"])
def test_status_documents(text):
    info = msgspec.json.decode(text, type=StatusInfo)
    assert msgspec.json.decode(msgspec.json.encode(info)) == msgspec.json.decode(text)


def test_every_block_is_of_a_known_sort():
    assert {kind for kind, _ in BLOCKS} == {"execute", "batch", "status"}
    assert PAGE.count("```json") == len(BLOCKS)


def test_every_code_is_on_the_page_with_its_status():
    for code, status in STATUS.items():
        assert re.search(rf"^\| `{code}` \| .*{status}", PAGE, re.MULTILINE), code
