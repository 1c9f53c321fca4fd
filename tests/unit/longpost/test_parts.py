"""Cutting and escaping results: every part fits, and joined they are the text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.protocols.longpost.parts import WIDEST, Cutter, ascii_text, width

texts = st.text(st.sampled_from('a"\\\néß€漢😀'), max_size=60)


def blocks_of(document: bytes, size: int) -> list[bytes]:
    return [document[start : start + size] for start in range(0, len(document), size)]


def cut(document: bytes, chunk: int, block: int = 1 << 20) -> list[tuple[int, int]]:
    cutter = Cutter(chunk)
    for piece in blocks_of(document, block):
        cutter.feed(piece)
    return cutter.ranges()


@given(texts)
def test_ascii_text_means_the_same_and_is_as_wide_as_said(text):
    document = json.dumps(text, ensure_ascii=False).encode()
    escaped = ascii_text(document)
    assert escaped.isascii()
    assert json.loads(escaped) == text
    assert width(document) == len(escaped)


@given(texts, st.integers(WIDEST, 40), st.integers(1, 17))
def test_parts_join_to_the_text_and_none_is_too_long(text, chunk, block):
    document = text.encode()
    ranges = cut(document, chunk, block)
    parts = [ascii_text(document[start:end]) for start, end in ranges]
    assert "".join(parts) == ascii_text(document)
    assert all(len(part) <= chunk for part in parts)
    assert all(len(part) > chunk - WIDEST for part in parts[:-1])
    assert all(parts) or not text


@given(texts, st.integers(WIDEST, 40), st.integers(1, 17))
def test_where_the_blocks_end_does_not_matter(text, chunk, block):
    assert cut(text.encode(), chunk, block) == cut(text.encode(), chunk)


@pytest.mark.parametrize(("length", "parts"), [(0, 1), (1, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
def test_ascii_is_cut_at_exactly_the_chunk(length, parts):
    ranges = cut(b"x" * length, 20)
    assert len(ranges) == parts
    assert all(end - start == 20 for start, end in ranges[:-1])
