"""The checker finds each broken clause in a made-up history, and nothing in a good one."""

import pytest

from faults.history import History, violations


def good() -> History:
    history = History(attempted={"a"}, final={"1": ("successful", "x")}, keys={"1": "a"}, endings={"1": 1})
    history.accepted["a"].add("1")
    history.seen["1"].add(("successful", "x"))
    history.told["1"] += ["successful", "successful"]
    return history


def test_nothing_is_found_in_a_good_history():
    assert violations(good()) == []


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda h: (h.keys.clear(), h.final.clear()), "lost"),
        (lambda h: h.accepted["a"].add("2"), "one key, several jobs"),
        (lambda h: h.keys.update({"2": "a"}), "one key, several jobs"),
        (lambda h: h.attempted.clear(), "unexpected"),
        (lambda h: h.final.update({"1": ("running", "")}), "no end"),
        (lambda h: h.endings.update({"1": 2}), "not one end"),
        (lambda h: h.endings.update({"1": 0}), "not one end"),
        (lambda h: h.seen["1"].add(("successful", "y")), "two ends"),
        (lambda h: h.told.clear(), "never notified"),
        (lambda h: h.told["1"].append("failed"), "notified otherwise"),
        (lambda h: h.left.append("python 1"), "left behind"),
    ],
)
def test_each_broken_clause_is_found(break_it, complaint):
    history = good()
    break_it(history)
    assert any(line.startswith(complaint) for line in violations(history))
