"""The book of leases, against the plainest one there could be."""

import random

import pytest

from crossdock.core.agenda import Now
from crossdock.core.jobs import OutcomeKind
from crossdock.core.lease_book import LeaseBook, LeaseRecord


def lease(token, job=1, *, deadline=30.0, local=False):
    return LeaseRecord(token, job, "w", 30.0, deadline, local)


def tokens(book, mono):
    return {record.token: kind for record, kind in book.overdue(Now(0.0, mono))}


def test_a_job_may_have_several_leases_and_knows_no_others():
    book = LeaseBook()
    for token, job in ((3, 1), (1, 1), (2, 2)):
        book.enter(lease(token, job))
    assert [record.token for record in book.of_job(1)] == [1, 3]
    book.strike(book.records[1])
    assert [record.token for record in book.of_job(1)] == [3]
    book.strike(book.records[3])
    assert book.of_job(1) == []
    assert [record.token for record in book.of_job(2)] == [2]


def test_why_leases_end():
    book = LeaseBook()
    lost, cancelled, late, local = (book.enter(lease(token, local=token == 4)) for token in range(1, 5))
    cancelled.cancelled = True
    book.limit(late, 20.0, Now(0.0, 0.0))
    assert tokens(book, 24.9) == {}
    assert tokens(book, 25.0) == {late.token: OutcomeKind.TIMED_OUT}
    found = tokens(book, 1e6)
    assert (found[lost.token], found[cancelled.token]) == (OutcomeKind.LOST, OutcomeKind.CANCELLED)
    assert local.token not in found


@pytest.mark.parametrize("seed", range(20))
def test_none_that_is_due_is_overlooked(seed):
    dice = random.Random(seed)
    book, mono = LeaseBook(), 0.0
    for token in range(500):
        record = book.enter(lease(token, deadline=mono + dice.uniform(1, 30), local=dice.random() < 0.3))
        if dice.random() < 0.3:
            book.limit(record, dice.uniform(-10, 10), Now(0.0, mono))
        renewed = dice.choice(list(book.records.values()))
        renewed.deadline = max(renewed.deadline, mono + dice.uniform(1, 30))
        if dice.random() < 0.1:
            book.forgive(dice.uniform(0, 5))
        mono += dice.uniform(0, 2)
        due = {record.token for record in book.records.values() if record.due <= mono}
        assert set(tokens(book, mono)) == due
        for ended in due:
            book.strike(book.records[ended])


def test_as_long_as_none_can_be_due_none_is_looked_at():
    book = LeaseBook()
    book.enter(lease(1))
    assert tokens(book, 29.0) == {}
    book.records = None
    assert tokens(book, 29.9) == {}
