"""Addresses, paths and lines: the small readers of the configuration."""

from pathlib import Path
from typing import get_args

import pytest

from crossdock.config import Config, artifacts_path, listen_address, store_path
from crossdock.config.build import fields
from crossdock.config.lines import key_lines, line_of
from crossdock.config.schema import LATER, Store
from crossdock.config.schema import Artifacts as ArtifactsSection
from crossdock.config.section import Section


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_listen_addresses(text, expected):
    assert listen_address(text) == expected


def test_places_default_to_the_data_directory():
    config = Config(data="d")
    assert store_path(config) == Path("d/crossdock.db")
    assert artifacts_path(config) == Path("d/artifacts")


def test_places_can_be_named():
    config = Config(store=Store(url="sqlite:///var/x.db"), artifacts=ArtifactsSection(url="file:/var/a"))
    assert store_path(config) == Path("/var/x.db")
    assert artifacts_path(config) == Path("/var/a")
    assert store_path(Config(store=Store(url="memory:"))) is None


def test_lines_are_found_in_tables_arrays_and_dotted_keys():
    lines = key_lines('a = 1\n[b] # note\nc = 2\n"d".e = 3\n[[f]]\n[[f]]\ng = 4\n[h."i.j"]\n')
    assert lines["a",] == 1
    assert lines["b", "c"] == 3
    assert lines["b", "d", "e"] == 4
    assert lines["f", "1", "g"] == 7
    assert lines["h", "i.j"] == 8
    assert line_of(lines, ("b", "c", "inner")) == 3
    assert line_of(lines, ("x",)) is None


def all_sections(section=Config):
    yield section
    for kind, _ in fields(section).values():
        inner = (
            kind
            if isinstance(kind, type)
            else next((a for a in kind.__args__ if isinstance(a, type) and issubclass(a, Section)), None)
        )
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from all_sections(inner)


def test_every_key_says_in_a_line_what_it_does():
    for section in all_sections():
        assert section.__doc__
        for name, (kind, meta) in fields(section).items():
            if meta is None:
                assert any(isinstance(each, type) and issubclass(each, Section) for each in (kind, *get_args(kind))), name
            else:
                assert meta.description, name
                assert "\n" not in meta.description


def test_no_table_of_a_later_release_is_there_already():
    assert not LATER.keys() & set(fields(Config))
