"""Forms: whatever pieces they come in, the parts are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.recodex.files.form import read_form

TYPE = 'multipart/form-data; boundary="a b"'
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=20)
CONTENTS = st.binary(max_size=300) | st.sampled_from([b"", b"\r\n", b"\r\n--", b"\r\n--a", b"--a b", b"\r\n--a\r\n--a"])


def form(parts, boundary=b"a b", preamble=b"", epilogue=b"\r\n"):
    body = preamble
    for name, content in parts:
        body += b"--" + boundary + b"\r\n"
        body += b'Content-Disposition: form-data; name="' + name.encode() + b'"; filename="f"\r\n'
        body += b"Content-Type: text/plain\r\n\r\n" + content + b"\r\n"
    return body + b"--" + boundary + b"--" + epilogue


def pieces(body, size):
    async def stream():
        for start in range(0, len(body), size):
            yield body[start : start + size]

    return stream()


async def read(body, size=1 << 20, content_type=TYPE):
    return [
        (part.name, b"".join([piece async for piece in part.content]))
        async for part in read_form(content_type, pieces(body, size))
    ]


@given(st.lists(st.tuples(NAMES, CONTENTS), max_size=4), st.integers(1, 80), st.sampled_from([b"", b"\r\n", b"hello\r\n"]))
async def test_parts_are_the_same_in_pieces_of_any_size(parts, size, preamble):
    parts = [(name, content) for name, content in parts if b"\r\n--a b" not in b"\r\n" + content]
    assert await read(form(parts, preamble=preamble), size) == parts
    assert await read(form(parts, epilogue=b""), size) == parts


@given(st.binary(max_size=200), st.integers(1, 50))
async def test_nonsense_is_refused_as_such(body, size):
    with pytest.raises(CrossdockError) as refused:
        await read(body, size)
    assert refused.value.code is Code.INVALID


@given(st.data())
async def test_a_form_that_is_cut_off_is_refused(data):
    body = form([("a", b"content"), ("b", b"more")], epilogue=b"")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(CrossdockError, match="ends early"):
        await read(body[:cut], 7)


async def test_a_part_that_is_not_read_is_skipped():
    body = form([("a", b"x" * 1000), ("b", b"y" * 1000), ("c", b"")])
    names = []
    async for part in read_form(TYPE, pieces(body, 100)):
        names.append(part.name)
        if part.name == "b":
            assert (await anext(part.content)).startswith(b"y")
    assert names == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary=" + "x" * 80],
)
async def test_other_types_are_refused(content_type):
    with pytest.raises(CrossdockError, match="a form is expected"):
        await read(form([("a", b"")]), content_type=content_type)


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"X: y\r\n",
        b"Content-Disposition: form-data\r\n",
        b'Content-Disposition: attachment; name="a"\r\n',
        b'Content-Disposition: form-data; name="\xff"\r\n',
        b"X: " + b"y" * 10_000 + b"\r\n",
    ],
)
async def test_parts_without_a_usable_name_are_refused(headers):
    with pytest.raises(CrossdockError, match="malformed"):
        await read(b"--a b\r\n" + headers + b"\r\ncontent\r\n--a b--\r\n")


@pytest.mark.parametrize("behind", [b"x\r\n", b"x" * 1000])
async def test_what_stands_behind_a_boundary_is_refused(behind):
    with pytest.raises(CrossdockError, match="behind a boundary"):
        await read(b"--a b" + behind)


async def test_blanks_behind_a_boundary_are_fine():
    body = form([("a", b"1")]).replace(b"--a b\r\n", b"--a b \t\r\n")
    assert await read(body) == [("a", b"1")]


async def test_names_are_read_in_every_spelling():
    for spelled, name in (
        (b'name="a/b c.txt"', "a/b c.txt"),
        (b"name=plain", "plain"),
        (b'filename="x"; name="y"', "y"),
        (b'name="q\\"q"', 'q"q'),
        ('name="č"'.encode(), "č"),
    ):
        body = b"--a b\r\ncontent-disposition: FORM-data; " + spelled + b"\r\n\r\n1\r\n--a b--"
        assert await read(body) == [(name, b"1")]
