"""How often a client may guess."""

from crossdock.protocols.longpost.misses import Misses


def test_the_eleventh_miss_in_a_minute_is_refused_until_the_first_is_a_minute_old():
    misses = Misses(10, 1000)
    for second in range(10):
        assert misses.pause("a", float(second), known=False) is None
        misses.miss("a", float(second))
    assert misses.pause("a", 10.0, known=False) == 50
    assert misses.pause("a", 10.0, known=True) == 50
    assert misses.pause("b", 10.0, known=False) is None
    assert misses.pause("a", 59.5, known=False) == 1
    assert misses.pause("a", 60.0, known=False) is None


def test_many_misses_from_everywhere_close_the_door_to_callers_without_a_key():
    misses = Misses(10, 3)
    for address in "abc":
        misses.miss(address, 5.0)
    assert misses.pause("d", 5.5, known=False) == 1
    assert misses.pause("d", 5.5, known=True) is None
    assert misses.pause("d", 6.0, known=False) is None


def test_addresses_are_forgotten():
    misses = Misses(2, 1e9)
    for number in range(10_000):
        misses.miss(f"address {number}", number * 0.1)
    assert len(misses._addresses) <= 601
