"""Ctrl-C while a submit is under way."""

import os
import signal

import pytest

from crossdock.cli.interrupts import HeldInterrupt


def interrupt(times=1):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_first_one_is_kept_until_it_can_be_answered():
    before = signal.getsignal(signal.SIGINT)
    with HeldInterrupt() as held:
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            held.release()
        assert signal.getsignal(signal.SIGINT) is before
        held.release()


def test_a_second_one_is_let_through():
    with pytest.raises(KeyboardInterrupt), HeldInterrupt():
        interrupt(times=2)


def test_one_that_nobody_released_is_not_forgotten():
    with pytest.raises(KeyboardInterrupt), HeldInterrupt():
        interrupt()
    with HeldInterrupt():
        pass


def test_an_error_goes_first():
    with pytest.raises(ZeroDivisionError), HeldInterrupt():
        1 / (interrupt() or 0)
