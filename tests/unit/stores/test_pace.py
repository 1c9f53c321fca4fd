"""Where commits run."""

from crossdock.stores.sqlite.pace import LIMIT, MANY, PROBE, Pace


def test_a_fast_disk_keeps_commits_inline() -> None:
    pace = Pace()
    for _ in range(1000):
        assert pace.inline()
        pace.record(LIMIT * 0.9)


def test_a_large_commit_waits_for_the_disk_in_the_thread() -> None:
    pace = Pace()
    assert pace.inline(MANY - 1)
    assert not pace.inline(MANY)


def test_one_hiccup_changes_nothing() -> None:
    pace = Pace()
    pace.record(LIMIT * 9)
    assert pace.inline()


def test_a_busy_processor_is_no_slow_disk() -> None:
    pace = Pace()
    for _ in range(100):
        for factor in (9, 9, 0.1, 9, 9, 9, 0.1, 9):
            assert pace.inline()
            pace.record(LIMIT * factor)


def test_a_slow_disk_moves_commits_to_the_thread_apart_from_probes() -> None:
    pace = Pace()
    for _ in range(100):
        pace.record(LIMIT * 5)
    assert [pace.inline() for _ in range(2 * PROBE)].count(True) == 2


def test_a_probe_that_is_fast_brings_them_back() -> None:
    pace = Pace()
    for _ in range(100):
        pace.record(LIMIT * 5)
    pace.record(LIMIT * 0.5)
    assert pace.inline()
