"""Pauses, attempts and overrides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.policy import Overrides, Policy, pause, retryable

ANY = (("kind", "work"),)


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (10**6, 300)])
def test_pauses_double_up_to_their_maximum(attempt, seconds):
    assert pause(Policy(), attempt, 0.0) == seconds


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_jitter_only_shortens_and_by_its_share_at_most(attempt, draw):
    full = pause(Policy(), attempt, 0.0)
    assert 0.75 * full <= pause(Policy(), attempt, draw) <= full


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, 0.0), (9.0, 9.0), (-1.0, 1.0), (float("nan"), 1.0), (1e12, 1.0)])
def test_pauses_that_are_asked_for_go_first_if_they_make_sense(asked, seconds):
    assert pause(Policy(), 1, 0.0, asked) == seconds


def test_attempts_and_codes_decide_whether_there_is_another():
    policy = Policy(attempts=2, non_retryable=("bad",))
    assert retryable(policy, 1, "")
    assert not retryable(policy, 2, "")
    assert not retryable(policy, 1, "bad")


def test_overrides_change_what_they_name():
    policy = Overrides(attempts=7, keep=0.0).apply(Policy(timeout=3))
    assert (policy.attempts, policy.keep, policy.timeout, policy.backoff) == (7, 0.0, 3, 1.0)
