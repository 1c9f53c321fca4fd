"""Counts of what went wrong: a flood of it is counted whole and logged in part."""

from crossdock.core.counters import Counters


class Log:
    """Lines that were written, and the time."""

    def __init__(self):
        self.lines = []
        self.now = 100.0

    def warn(self, event, **about):
        self.lines.append((event, about))


def test_a_flood_is_counted_whole_and_logged_in_part():
    log = Log()
    counters = Counters(lambda: log.now, log.warn)
    for _ in range(50):
        counters.complain("nonsense", "no JSON", peer="a1")
    assert counters.values == {"nonsense": 50}
    assert log.lines == [("nonsense", {"reason": "no JSON", "peer": "a1"})] * 10
    log.now += 1.0
    counters.complain("nonsense", "no JSON")
    assert log.lines[10:] == [
        ("more nonsense came than is logged", {"unlogged": 40}),
        ("nonsense", {"reason": "no JSON"}),
    ]


def test_what_a_peer_says_is_shown_only_at_its_beginning():
    log = Log()
    Counters(lambda: log.now, log.warn).complain("nonsense", "x" * 1000, client="y" * 1000)
    assert log.lines == [("nonsense", {"reason": "x" * 200, "client": "y" * 200})]


def test_what_is_only_counted_is_not_logged():
    log = Log()
    counters = Counters(lambda: log.now, log.warn)
    counters.count("late", 3)
    counters.count("late")
    assert (counters.values, log.lines) == ({"late": 4}, [])
