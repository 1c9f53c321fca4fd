"""YAML of strangers: every scalar a text, and nothing that ends the process. More is in the tests of job configurations."""

import pytest

from crossdock.runners.program.yamltext import NotYaml, Scalar, WrongShape, parse


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (b"a: 010\nb: 'true'\nc: 1.50\n", {"a": Scalar("010"), "b": Scalar("true"), "c": Scalar("1.50")}),
        (b"x: &x {k: v}\ny: *x\n", {"x": {"k": Scalar("v")}, "y": {"k": Scalar("v")}}),
        (b"a: 1\na: 2\n", {"a": Scalar("1")}),
        (b'stdout: "\\u0159\\xed"\n', {"stdout": Scalar("ří")}),
        (b"--- 1\n--- 2\n", Scalar("1")),
        (b"!!python/object/apply:os.system ['true']", [Scalar("true")]),
    ],
)
def test_what_is_read(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize("text", [b'a: "x\\0y"', b'"\\0": 1', b'[a, "\\x00"]', b'{a: {b: "\\u0000"}}'])
def test_a_nul_is_read_only_where_it_is_output(text):
    with pytest.raises(WrongShape, match="NUL"):
        parse(text)
    assert "\\x00" in str(parse(text, nul=True))


@pytest.mark.parametrize("opening", [b"- ", b"[", b"{a: "])
def test_deep_nesting_is_refused_and_ends_nothing(opening):
    with pytest.raises(NotYaml, match="it is nested more than 50 times"):
        parse(opening * 100_000)


def test_how_much_is_read_is_up_to_the_caller():
    text = b"[" + b"x," * 99 + b"]"
    assert len(parse(text, len(text), 100)) == 99
    with pytest.raises(NotYaml, match=f"it has more than {len(text) - 1} bytes"):
        parse(text, len(text) - 1, 100)
    with pytest.raises(NotYaml, match="it has more than 99 nodes"):
        parse(text, len(text), 99)
