"""Requirements against capabilities: the rules of ReCodEx."""

import pytest

from crossdock.core.matching import matches, parse_count, requirement_class, unmet
from crossdock.core.requests import Capabilities

ANY = (("kind", "work"),)

WORKER = Capabilities(group="a", values={"env": ("c", "py"), "threads": ("4", "8x"), "hwgroup": ("extra",), "odd": ("-1",)})


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("env", "c", True),
        ("env", "py", True),
        ("env", "C", False),
        ("env", "", False),
        ("env", "c|py", False),
        ("Env", "c", False),
        ("missing", "", False),
        ("hwgroup", "a", True),
        ("hwgroup", "b|a", True),
        ("hwgroup", "a|", True),
        ("hwgroup", "b|c", False),
        ("hwgroup", "", False),
        ("hwgroup", "extra", True),
        ("hwgroup", "b|extra", False),
        ("threads", "1", True),
        ("threads", "4", True),
        ("threads", "8", True),
        ("threads", "9", False),
        ("threads", "-1", False),
        ("threads", " +4junk", True),
        ("threads", "many", False),
        ("threads", "", False),
        ("odd", "-1", True),
        ("odd", "-01", False),
    ],
)
def test_one_requirement(name, value, met):
    assert matches(((name, value),), WORKER) is met
    assert unmet([(name, value)], WORKER) == ([] if met else [(name, value)])


def test_every_requirement_has_to_be_met_and_none_is_met_by_everybody():
    assert matches((), Capabilities())
    assert matches((("env", "c"), ("env", "py"), ("threads", "2")), WORKER)
    assert not matches((("env", "c"), ("env", "java")), WORKER)


def test_a_group_with_a_bar_in_its_name_cannot_be_asked_for():
    assert not matches((("hwgroup", "a|b"),), Capabilities(group="a|b"))


def test_workers_of_any_number_of_threads_are_asked_for_their_greatest():
    assert matches((("threads", "7"),), Capabilities(values={"threads": ("2", "-1")}))
    assert not matches((("threads", "1"),), Capabilities(values={"threads": ("none",)}))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4),
        ("007", 7),
        (" \t\n\v\f\r4", 4),
        ("+4", 4),
        ("4x", 4),
        ("4.9", 4),
        ("0x10", 0),
        ("-1", 2**64 - 1),
        ("-0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2**64 - 1),
        ("-18446744073709551616", 2**64 - 1),
        ("9" * 5000, 2**64 - 1),
        ("", None),
        ("x4", None),
        ("- 4", None),
        ("٣", None),
        ("\u00a04", None),
    ],
)
def test_threads_are_read_as_stoul_does(text, number):
    assert parse_count(text) == number


def test_equal_multisets_of_requirements_are_one_class():
    one = requirement_class("k", (("b", "1"), ("a", "2"), ("a", "2")))
    assert one == requirement_class("k", (("a", "2"), ("b", "1"), ("a", "2")))
    assert one != requirement_class("k", (("a", "2"), ("b", "1")))
    assert ("kind", "k") in one
